/** Bounds what all bodies on their way keep waiting for slow readers. */
export type RelayBudget = {
  /** How much one body may read at a time just now, in bytes: less as more waits in all. */
  readonly pieceBytes: () => number;
  /** Counts bytes that begin to wait. */
  take(bytes: number): void;
  /** Counts bytes that no longer wait. */
  give(bytes: number): void;
};

/** The smallest piece, however much waits already, and the largest, in bytes. */
export const minPieceBytes = 16 * 1024;
export const maxPieceBytes = 512 * 1024;

/** A piece takes at most this part of what is left of the budget: so all that wait share it, and it is never used up. */
const shareOfRest = 16;

/**
 * Creates an unused budget. A body whose reader stalls keeps its last piece for as long as that takes, so the budget is spent by those; beyond it
 * pieces are small. A fast reader gives its piece back at once and costs nothing.
 */
export function createRelayBudget(maxBytes: number): RelayBudget {
  let heldBytes = 0;
  return {
    pieceBytes: () =>
      Math.min(maxPieceBytes, Math.max(minPieceBytes, Math.floor((maxBytes - heldBytes) / shareOfRest))),
    take: (bytes) => {
      heldBytes += bytes;
    },
    give: (bytes) => {
      heldBytes -= bytes;
    },
  };
}
