import { freeMemory } from '../../system/free-memory.ts';
import { maxPieceBytes, minPieceBytes, type RelayBudget } from './relay-budget.ts';

/** The memory of one body in transfer. */
export type BodyBuffers = {
  /** Returns a buffer of the currently right size, with arbitrary content. */
  take(): Buffer;
  /** Gives back a buffer that nothing reads or writes any more. */
  giveBack(buffer: Buffer): void;
  /** Ends it: buffers that were not given back are left to the garbage collector. */
  readonly forget: () => void;
};

/** The first buffer size of a body, where the budget has room for it, in bytes. */
const firstBytes = 32 * 1024;
/** How many buffers of one size a body gets before it gets larger ones. */
const buffersOfSize = 16;
/** The most unused memory that is kept while there is no body, in bytes. */
const keptBytes = 4 * 1024 * 1024;

/**
 * Creates the allocator of body buffers; its result opens one body. Large buffers cost less time, small ones less
 * memory. So a body's buffers grow as it proceeds (a client that reads slowly does not get far), and all shrink as more
 * waits for slow readers. While there are bodies, unused memory is kept as far as the budget has room for it.
 */
export function createBodyBuffers(budget: RelayBudget): () => BodyBuffers {
  /** The buffer that was given back last is at the end. */
  const free: Buffer[] = [];
  let freeBytes = 0;
  let openBodies = 0;
  const keep = (mostBytes: number) => {
    const surplus: Buffer[] = [];
    while (freeBytes > mostBytes) {
      const oldest = free.shift();
      if (!oldest) break;
      freeBytes -= oldest.length;
      surplus.push(oldest);
    }
    if (surplus.length > 0) freeMemory(surplus);
  };
  const trim = () => keep(openBodies === 0 ? keptBytes : Math.max(keptBytes, budget.restBytes()));
  return () => {
    let taken = 0;
    let heldBytes = 0;
    let isOpen = true;
    openBodies += 1;
    const release = (bytes: number) => {
      const counted = Math.min(bytes, heldBytes); // does nothing after forget()
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
        if (!buffer) {
          trim();
          return Buffer.allocUnsafeSlow(bytes);
        }
        freeBytes -= bytes;
        return buffer;
      },
      giveBack: (buffer) => {
        release(buffer.length);
        free.push(buffer);
        freeBytes += buffer.length;
        trim();
      },
      forget: () => {
        release(heldBytes);
        if (isOpen) openBodies -= 1;
        isOpen = false;
        trim();
      },
    };
  };
}
