/** Large buffers that all transfers of this process share, so that many slow readers at once cannot hold one each. */
export type ReadBuffers = {
  /** Null: so many are in use that a small one of one's own has to do. */
  takeLarge(): Buffer | null;
  /** Whether so few are in use that a client need not have shown first that it keeps up. */
  hasPlenty(): boolean;
  /** @param reusable whether nobody can still be reading from it. */
  giveBack(buffer: Buffer, reusable: boolean): void;
};

/**
 * Half the processor time per byte of 64 KiB: each piece costs a turn of the thread pool and of the event loop. Of 1 MiB there is
 * nothing more to gain. In bytes.
 */
const largeBytes = 512 * 1024;
/** Enough for 6 transfers at full speed. */
const maxBuffers = 12;

export function createReadBuffers(): ReadBuffers {
  const idle: Buffer[] = [];
  let inUse = 0;
  return {
    takeLarge: () => {
      if (inUse === maxBuffers) return null;
      inUse += 1;
      return idle.pop() ?? Buffer.allocUnsafeSlow(largeBytes);
    },
    hasPlenty: () => inUse < maxBuffers / 2,
    giveBack: (buffer, reusable) => {
      inUse -= 1;
      if (reusable) idle.push(buffer);
    },
  };
}
