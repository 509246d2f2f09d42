/** How much is done under one lock, so that it is held for some tens of milliseconds. */
export type BatchSize = {
  readonly value: number;
  /** Tells how long the last one took. */
  learn(ms: number): void;
};

/** The longest that requests should wait, in milliseconds. */
const maxHoldMs = 50;

export function createBatchSize(largest: number): BatchSize {
  let value = Math.min(8, largest);
  return {
    get value() {
      return value;
    },
    learn: (ms) => {
      if (ms > maxHoldMs * 0.7) value = Math.max(1, Math.floor(value / 2));
      else if (ms < maxHoldMs * 0.35) value = Math.min(largest, value * 2);
    },
  };
}
