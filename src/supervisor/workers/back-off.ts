/** How long to wait before something that ends again and again is started anew. */
export type BackOff = {
  /** To be called when it runs. */
  started(): void;
  /** To be called when it has ended; gives milliseconds: 0 for the first time, then longer each time. */
  ended(): number;
  /** Whether it ends again and again: three times in a row, and it has not run for long since. */
  loops(): boolean;
};

/** The wait for the second end in a row, doubled with each further one, in milliseconds. */
const firstWaitMs = 1000;
const longestWaitMs = 30_000;
/** What ran for so long has recovered: its next end counts as the first, in milliseconds. */
const recoveredMs = 60_000;
/** So many ends in a row are no chance any more. */
const endsOfLoop = 3;

/** @param now a clock that only goes forward, in milliseconds */
export function createBackOff(now: () => number): BackOff {
  let endsInARow = 0;
  let startedAtMs = Infinity;
  const hasRecovered = () => now() - startedAtMs >= recoveredMs;
  return {
    started: () => {
      startedAtMs = now();
    },
    ended: () => {
      endsInARow = hasRecovered() ? 1 : endsInARow + 1;
      startedAtMs = Infinity;
      return endsInARow === 1 ? 0 : Math.min(longestWaitMs, firstWaitMs * 2 ** (endsInARow - 2));
    },
    loops: () => endsInARow >= endsOfLoop && !hasRecovered(),
  };
}
