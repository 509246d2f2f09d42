/** A signal that comes when its parent's does, or after a time. */
export type TimeLimit = {
  readonly signal: AbortSignal;
  /** Frees what it holds, and ends by the signal whatever is still at work. */
  readonly end: () => void;
};

/**
 * Builds one. AbortSignal.any and AbortSignal.timeout would do, but in Node 20 the garbage collector takes signals
 * that only they hold, and then they never come.
 */
export function createTimeLimit(parent: AbortSignal, limitMs: number): TimeLimit {
  const controller = new AbortController();
  const end = () => {
    clearTimeout(timer);
    parent.removeEventListener('abort', end);
    controller.abort();
  };
  const timer = setTimeout(end, limitMs);
  parent.addEventListener('abort', end);
  if (parent.aborted) end();
  return { signal: controller.signal, end };
}
