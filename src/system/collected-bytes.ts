/** Collects a body, however small its pieces are. */
export type CollectedBytes = {
  /** The collected bytes. */
  readonly length: number;
  /** The occupied memory, in bytes: at most about twice the collected bytes. */
  readonly heldBytes: number;
  add(piece: Buffer): void;
  /** Returns all of it, in memory of exactly its size. */
  read(): Buffer;
};

const firstBytes = 1024;

/**
 * Starts empty. Copies pieces into memory that doubles: a list would take some hundred bytes per piece, and a sender
 * may send single bytes.
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
