/** So many paths can be looked at under each lock: it takes some milliseconds. */
export const maxLockedPaths = 500;
/** The pause between two looks at more: a second, or so many times as long as one takes. */
const minPauseMs = 1000;
const pauseFactor = 10;

/** Looks for writes around the front doors now and then: no lock holds them, so a look finds them late in any case. */
export type RareCheck<Result> = {
  /** Gives what the last look found, or looks again if that is too old. */
  look(): Promise<Result>;
};

/** @param now a clock that only goes forward, in milliseconds */
export function createRareCheck<Result>(
  check: () => Promise<Result>,
  now: () => number = () => performance.now(),
): RareCheck<Result> {
  let last: { readonly found: Result; readonly untilMs: number } | null = null;
  return {
    look: async () => {
      const startedMs = now();
      if (last !== null && startedMs < last.untilMs) return last.found;
      const found = await check();
      const endedMs = now();
      last = { found, untilMs: endedMs + Math.max(minPauseMs, pauseFactor * (endedMs - startedMs)) };
      return found;
    },
  };
}
