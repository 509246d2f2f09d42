import { countsOfWrite } from '../../registry/write-counts.ts';

/** Rests between two locks of a repository, the longer the more others write there: each of them may have to wait. */
export type Courtesy = {
  /** Tells how often others have written by now: a counter. */
  noteWrites(writes: number): void;
  /** How long to rest after a lock that was held for so long, in milliseconds. */
  restMs(heldMs: number): number;
};

/** The share of the time for which requests may be held where others write all the time. */
const maxShare = 1 / 25;
/** What a write takes, about, in milliseconds. */
const writeMs = 10;

/** @param now a clock that only goes forward, in milliseconds */
export function createCourtesy(now: () => number): Courtesy {
  let last: { readonly writes: number; readonly atMs: number } | null = null;
  /** The share of the time for which others write. */
  let busy = 0;
  return {
    noteWrites: (writes) => {
      const atMs = now();
      if (last !== null)
        busy = Math.min(
          1,
          (((writes - last.writes) / countsOfWrite) * writeMs) / Math.max(1, atMs - last.atMs),
        );
      last = { writes, atMs };
    },
    restMs: (heldMs) => heldMs * busy * (1 / maxShare - 1),
  };
}
