import { freeMemory } from '../system/free-memory.ts';

/** The large buffers that all transfers of this process share, so that many slow readers cannot hold one each. */
export type ReadBuffers = {
  /** Null: too many are in use; use a small one. */
  takeLarge(): Buffer | null;
  /** Whether so few are in use that a client gets one without having proved to be fast. */
  hasPlenty(): boolean;
  /** @param reusable whether nothing can still read from it */
  giveBack(buffer: Buffer, reusable: boolean): void;
};

/**
 * Costs half the CPU time per byte of 64 KiB: each piece costs a turn of the thread pool and of the event loop. 1 MiB
 * gains nothing more. In bytes.
 */
const largeBytes = 512 * 1024;
/** Enough for 16 transfers at full speed. */
const maxBuffers = 32;
/** While fewer are in use, a transfer that begins needs no proof that its client is fast; each takes two. */
const plentyBelow = 6;
/** How many are kept while none is in use: 4 MiB. */
const keptBuffers = 8;

export function createReadBuffers(): ReadBuffers {
  const idle: Buffer[] = [];
  let inUse = 0;
  return {
    takeLarge: () => {
      if (inUse === maxBuffers) return null;
      inUse += 1;
      return idle.pop() ?? Buffer.allocUnsafeSlow(largeBytes);
    },
    hasPlenty: () => inUse < plentyBelow,
    giveBack: (buffer, reusable) => {
      inUse -= 1;
      if (reusable) idle.push(buffer);
      if (inUse === 0 && idle.length > keptBuffers) freeMemory(idle.splice(keptBuffers));
    },
  };
}
