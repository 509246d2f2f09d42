/** The delay before a process that keeps ending is started again. */
export type BackOff = {
  /** Call it when the process runs. */
  started(): void;
  /** Call it when the process has ended. Returns the delay in milliseconds: 0 the first time, then longer each time. */
  ended(): number;
  /** Whether it is in a crash loop: it ended three times in a row, and has not run for long since. */
  loops(): boolean;
};

/** The delay after the second end in a row, doubled with each further one, in milliseconds. */
const firstWaitMs = 1000;
const longestWaitMs = 30_000;
/** After running for this long it has recovered: its next end counts as the first, in milliseconds. */
const recoveredMs = 60_000;
/** This many ends in a row make a crash loop. */
const endsOfLoop = 3;

/** @param now a monotonic clock, in milliseconds */
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
