/** Limits the bytes that all bodies keep waiting for slow readers. */
export type RelayBudget = {
  /** How much one body may read at a time now, in bytes: less as more waits in all. */
  readonly pieceBytes: () => number;
  /** The bytes that may still wait. */
  readonly restBytes: () => number;
  /** Adds bytes that begin to wait. */
  take(bytes: number): void;
  /** Subtracts bytes that no longer wait. */
  give(bytes: number): void;
};

/** The smallest piece, however much waits, and the largest, in bytes. */
export const minPieceBytes = 16 * 1024;
export const maxPieceBytes = 512 * 1024;

/** A piece takes at most this part of the remaining budget: so all transfers share it, and it is never used up. */
const shareOfRest = 16;

/**
 * Creates an unused budget. Stalled readers keep their last piece, so they spend the budget; when it is spent, pieces
 * are small. A fast reader gives its piece back at once and costs nothing.
 */
export function createRelayBudget(maxBytes: number): RelayBudget {
  let heldBytes = 0;
  const restBytes = () => Math.max(0, maxBytes - heldBytes);
  return {
    pieceBytes: () => Math.min(maxPieceBytes, Math.max(minPieceBytes, Math.floor(restBytes() / shareOfRest))),
    restBytes,
    take: (bytes) => {
      heldBytes += bytes;
    },
    give: (bytes) => {
      heldBytes -= bytes;
    },
  };
}
