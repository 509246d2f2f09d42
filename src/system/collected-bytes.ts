/** A body that is kept whole, however small the pieces are in which it comes. */
export type CollectedBytes = {
  /** What is kept, in bytes. */
  readonly length: number;
  /** What it occupies, in bytes: at most twice what is kept, or a little. */
  readonly heldBytes: number;
  add(piece: Buffer): void;
  /** Gives all of it, in memory of just this size. */
  read(): Buffer;
};

const firstBytes = 1024;

/**
 * Begins with nothing. Pieces are copied into memory that doubles: a list of them would take some hundred bytes for each, and a sender
 * that likes to sends a byte at a time.
 */
export function createCollectedBytes(): CollectedBytes {
  let memory = Buffer.alloc(0);
  let length = 0;
  return {
    get length() {
      return length;
    },
    get heldBytes() {
      return memory.length;
    },
    add: (piece) => {
      const neededBytes = length + piece.length;
      if (neededBytes > memory.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, 2 * memory.length, firstBytes));
        memory.copy(larger, 0, 0, length);
        memory = larger;
      }
      piece.copy(memory, length);
      length = neededBytes;
    },
    read: () => (length === memory.length ? memory : Buffer.from(memory.subarray(0, length))),
  };
}
