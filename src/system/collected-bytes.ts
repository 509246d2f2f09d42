const firstBytes = 1024;

/**
 * Collects a body, however small its pieces are. Copies them into memory that doubles: a list would take some hundred
 * bytes per piece, and a sender may send single bytes.
 */
export class CollectedBytes {
  #memory = Buffer.alloc(0);
  #length = 0;

  /** How many bytes are collected. */
  get length(): number {
    return this.#length;
  }

  /** The occupied memory, in bytes: at most about twice the collected bytes. */
  get heldBytes(): number {
    return this.#memory.length;
  }

  add(piece: Buffer): void {
    const neededBytes = this.#length + piece.length;
    if (neededBytes > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, 2 * this.#memory.length, firstBytes));
      this.#memory.copy(larger, 0, 0, this.#length);
      this.#memory = larger;
    }
    piece.copy(this.#memory, this.#length);
    this.#length = neededBytes;
  }

  /** Returns all of it, in memory of exactly its size. */
  read(): Buffer {
    return this.#length === this.#memory.length
      ? this.#memory
      : Buffer.from(this.#memory.subarray(0, this.#length));
  }
}
