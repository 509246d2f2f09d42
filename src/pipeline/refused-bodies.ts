/** The reading of bodies whose requests have been answered. */
export type RefusedBodies = {
  /** How much of one, in bytes. */
  readonly maxBytes: number;
  /** For how long, in milliseconds. */
  readonly timeoutMs: number;
  /** Begins to read one, unless too many are being read; returns a function that ends it, or null. */
  begin(): (() => void) | null;
};

/** @param limits maxAtOnce: how many are read at one time */
export function createRefusedBodies(limits: {
  maxBytes: number;
  timeoutMs: number;
  maxAtOnce: number;
}): RefusedBodies {
  let count = 0;
  return {
    maxBytes: limits.maxBytes,
    timeoutMs: limits.timeoutMs,
    begin: () => {
      if (count >= limits.maxAtOnce) return null;
      count += 1;
      let isRead = true;
      return () => {
        if (isRead) count -= 1;
        isRead = false;
      };
    },
  };
}
