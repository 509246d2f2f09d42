import { ConsoleError } from '../console-error.ts';

/** Limits what is done at once; what finds no place waits for one. */
export type RequestGate = {
  /**
   * Waits for a place, and returns what gives it up.
   * @throws ConsoleError when too many wait; what the signal says when it aborts
   */
  enter(signal: AbortSignal): Promise<() => void>;
};

export function createRequestGate(limits: {
  readonly atOnce: number;
  readonly waiting: number;
}): RequestGate {
  const waiting = new Set<() => void>();
  let places = limits.atOnce;
  const leave = () => {
    places += 1;
    const [next] = waiting;
    next?.();
  };
  const take = () => {
    places -= 1;
    let isLeft = false;
    return () => {
      if (!isLeft) leave();
      isLeft = true;
    };
  };
  return {
    enter: async (signal) => {
      signal.throwIfAborted();
      if (places > 0) return take();
      if (waiting.size >= limits.waiting) throw new ConsoleError('busy');
      return new Promise((resolve, reject) => {
        const enter = () => {
          stop();
          resolve(take());
        };
        const giveUp = () => {
          stop();
          reject(signal.reason as Error);
        };
        const stop = () => {
          waiting.delete(enter);
          signal.removeEventListener('abort', giveUp);
        };
        waiting.add(enter);
        signal.addEventListener('abort', giveUp);
      });
    },
  };
}
