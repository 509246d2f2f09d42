import { maxPieceBytes, minPieceBytes, type RelayBudget } from './relay-budget.ts';

/** The memory of one body on its way. */
export type BodyBuffers = {
  /** A buffer of the size that is right just now, with anything in it. */
  take(): Buffer;
  /** Gives back a buffer that nothing reads or writes any more. */
  giveBack(buffer: Buffer): void;
  /** The connection is over: buffers that were not given back are left to the garbage collector. */
  readonly forget: () => void;
};

/** What a body begins with, where the budget has room for it, in bytes. */
const firstBytes = 32 * 1024;
/** How many buffers of one size a body gets before it gets larger ones. */
const buffersOfSize = 16;
/** How much of what nobody uses just now is kept, in bytes. */
const maxFreeBytes = 4 * 1024 * 1024;

/**
 * Builds what hands memory to bodies; its result opens one. Large buffers cost less time, small ones less memory: a body's grow as
 * it proceeds (a client that reads slowly does not get far), and all shrink as more waits for slow readers.
 */
export function createBodyBuffers(budget: RelayBudget): () => BodyBuffers {
  /** The last given back is at the end. */
  const free: Buffer[] = [];
  let freeBytes = 0;
  return () => {
    let taken = 0;
    let heldBytes = 0;
    const release = (bytes: number) => {
      const counted = Math.min(bytes, heldBytes); // nothing after forget()
      heldBytes -= counted;
      budget.give(counted);
    };
    return {
      take: () => {
        const grownBytes = firstBytes * 2 ** Math.floor(taken++ / buffersOfSize);
        const mostBytes = Math.min(grownBytes, budget.pieceBytes());
        let bytes = maxPieceBytes;
        while (bytes > minPieceBytes && bytes > mostBytes) bytes /= 2;
        heldBytes += bytes;
        budget.take(bytes);
        const at = free.findLastIndex(({ length }) => length === bytes);
        const [buffer] = at === -1 ? [] : free.splice(at, 1);
        if (!buffer) return Buffer.allocUnsafeSlow(bytes);
        freeBytes -= bytes;
        return buffer;
      },
      giveBack: (buffer) => {
        release(buffer.length);
        free.push(buffer);
        freeBytes += buffer.length;
        while (freeBytes > maxFreeBytes) freeBytes -= free.shift()?.length ?? 0;
      },
      forget: () => release(heldBytes),
    };
  };
}
