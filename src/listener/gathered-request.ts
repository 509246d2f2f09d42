import { IncomingMessage } from 'node:http';
import { createCollectedBytes, type CollectedBytes } from '../system/collected-bytes.ts';

/** A smaller piece of a body is put together with others, in bytes. */
const smallBytes = 1024;
/** So much together is no small piece any more, in bytes. */
const gatheredBytes = 4096;

/**
 * A request whose body waits in few pieces. Node's parser makes a buffer of each chunk and each TLS record, and every buffer takes some 500 bytes: in
 * chunks of one byte, the 16 KiB that may wait for a reader took 8 MB.
 */
export class GatheredRequest extends IncomingMessage {
  #gathered: CollectedBytes | null = null;

  /** What the parser calls with each piece; false: it should read no more for now. */
  override push(piece: Buffer | null, encoding?: BufferEncoding): boolean {
    if (piece === null) {
      this.#pass();
      return super.push(null);
    }
    if (this.#gathered === null && (this.readableFlowing === true || piece.length >= smallBytes))
      return super.push(piece, encoding);
    this.#gathered ??= createCollectedBytes();
    this.#gathered.add(piece);
    if (this.#gathered.length >= gatheredBytes) return this.#pass();
    return this.readableLength + this.#gathered.length < this.readableHighWaterMark;
  }

  /** What everything that begins to read calls. */
  override resume(): this {
    this.#pass();
    return super.resume();
  }

  override _read(size: number): void {
    this.#pass();
    super._read(size);
  }

  #pass(): boolean {
    const gathered = this.#gathered;
    this.#gathered = null;
    return gathered === null || super.push(gathered.read());
  }
}
