import { setTimeout as wait } from 'node:timers/promises';
import type { UsageBatch, UsageSink } from '../usage/usage-buffer.ts';

/** A worker's way to the record of usage, which the primary process has. One batch is under way at a time. */
export type UsageChannel = UsageSink & {
  /** Call it when the primary process has taken the batch. */
  taken(): void;
};

/** A primary process that takes longer hangs, or is gone: what it has not taken is dropped then. */
const limitMs = 10_000;

/** @param send sends to the primary process */
export function createUsageChannel(
  send: (message: { readonly kind: 'usage'; readonly batch: UsageBatch }) => void,
): UsageChannel {
  let resolve = () => {};
  return {
    add: (batch) => {
      const taken = new Promise<void>((done) => (resolve = done));
      send({ kind: 'usage', batch });
      return Promise.race([taken, wait(limitMs, undefined, { ref: false })]);
    },
    taken: () => resolve(),
  };
}
