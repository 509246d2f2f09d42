import { Duplex } from 'node:stream';

/** A connection within this process, with the bounds of streams: who writes waits until the other side has read. */
export function createMemoryPair(): readonly [Duplex, Duplex] {
  const one = new MemorySide();
  const other = new MemorySide();
  one.other = other;
  other.other = one;
  return [one, other];
}

class MemorySide extends Duplex {
  other: MemorySide | null = null;
  /** Ends the other side's write, whose bytes wait to be read here. */
  #taken: (() => void) | null = null;

  override _read(): void {
    const taken = this.#taken;
    this.#taken = null;
    taken?.();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const { other } = this;
    if (other === null || other.destroyed) {
      done(new Error('The other side has gone.'));
      return;
    }
    other.#taken = done;
    // A copy: who writes uses the memory again when the write has ended, and the reader may hold on to it.
    other.push(Buffer.from(bytes));
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { other } = this;
    this._read();
    // After an orderly end the other side still reads what was written.
    if (other !== null && !(this.writableFinished && error === null)) process.nextTick(() => other.destroy());
    done(error);
  }
}
