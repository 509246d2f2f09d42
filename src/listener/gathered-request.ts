import { IncomingMessage } from 'node:http';
import { CollectedBytes } from '../system/collected-bytes.ts';

/** Smaller pieces of a body are joined, in bytes. */
const smallBytes = 1024;
/** Joined pieces of this size are passed on, in bytes. */
const gatheredBytes = 4096;

/**
 * A request whose waiting body has few pieces. Node's parser makes a buffer of each chunk and each TLS record, and
 * every buffer takes some 500 bytes: in chunks of one byte, 16 KiB took 8 MB.
 */
export class GatheredRequest extends IncomingMessage {
  #gathered: CollectedBytes | null = null;

  /** Called by the parser with each piece; false: it should stop reading for now. */
  override push(piece: Buffer | null, encoding?: BufferEncoding): boolean {
    if (piece === null) {
      this.#pass();
      return super.push(null);
    }
    if (this.#gathered === null && (this.readableFlowing === true || piece.length >= smallBytes))
      return super.push(piece, encoding);
    this.#gathered ??= new CollectedBytes();
    this.#gathered.add(piece);
    if (this.#gathered.length >= gatheredBytes) return this.#pass();
    return this.readableLength + this.#gathered.length < this.readableHighWaterMark;
  }

  /** Called by everything that begins to read. */
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
