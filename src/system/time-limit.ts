/** A signal that aborts with its parent's, or after a time. */
export type TimeLimit = {
  readonly signal: AbortSignal;
  /** Frees it, and aborts whatever is still running. */
  readonly end: () => void;
};

/**
 * Creates a time limit. AbortSignal.any and AbortSignal.timeout would do, but Node 20 garbage-collects signals that
 * only they reference, and then they never abort.
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
