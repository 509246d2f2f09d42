import type { ClientRequest, IncomingMessage } from 'node:http';
import { headerValues } from '../../http/raw-headers.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { freeMemory } from '../../system/free-memory.ts';

export type RequestBodyOptions = {
  readonly req: IncomingMessage;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each piece on arrival; what it stops is not forwarded. */
  readonly onBytes: (bytes: number) => void;
  /**
   * Called when the whole body is here. Upstream gets the last of it when the promise resolves, and cannot act on it
   * before. Left out, or undefined: at once.
   */
  readonly beforeEnd?: (() => Promise<void> | undefined) | undefined;
};

/** A request's body on its way to upstream. */
export type RequestBody = {
  /** Begins, like `Readable.pipe`, the only method of the body that http-proxy calls. */
  pipe(upstreamRequest: ClientRequest): void;
  /** Whether bytes of the client wait for upstream. */
  readonly waitsForUpstream: boolean;
  /** Whether the last of it is held back. */
  readonly isHeld: boolean;
  /** Stops forwarding, and leaves the rest of the body unread. */
  stop(): void;
};

/** Smaller pieces are left to the garbage collector, in bytes: a list of them would take more memory than they do. */
const minFreedBytes = 1024;

/** How many pieces may wait for upstream. */
const maxWaiting = 2;

/**
 * Builds what passes a request's body on in fewer and larger pieces than it came in, a TLS record of 16 KiB each: what has come in
 * one turn of the event loop goes on together at its end. Where chunks end carries no meaning (RFC 9112 section 7.1).
 */
export function createRequestBody(options: RequestBodyOptions): RequestBody {
  const { req } = options;
  let passage: BodyPassage | undefined;
  return {
    pipe: (upstreamRequest) => {
      passage?.stop(); // an attempt that failed
      passage = new BodyPassage(options, upstreamRequest);
    },
    get waitsForUpstream() {
      return passage?.waitsForUpstream === true;
    },
    get isHeld() {
      return passage?.isHeld === true;
    },
    stop: () => {
      passage?.stop();
      req.pause();
    },
  };
}

/** Passes a body on to one request to upstream. */
class BodyPassage {
  isHeld = false;
  readonly #options: RequestBodyOptions;
  readonly #upstreamRequest: ClientRequest;
  /** With a Content-Length, upstream has the whole body with its last byte. */
  readonly #lastByteAt: number;
  #receivedBytes = 0;
  #waiting = 0;
  #mayEnd = false;
  #isStopped = false;
  #buffers: BodyBuffers | undefined;
  /** What has come and not gone on, and the pieces that it was copied from. */
  #memory: Buffer | undefined;
  #filledBytes = 0;
  #spent: Buffer[] = [];
  #flushing: NodeJS.Immediate | undefined;

  constructor(options: RequestBodyOptions, upstreamRequest: ClientRequest) {
    const { req, beforeEnd } = options;
    this.#options = options;
    this.#upstreamRequest = upstreamRequest;
    this.#lastByteAt = beforeEnd ? Number(headerValues(req.rawHeaders, 'content-length')[0] ?? NaN) : NaN;
    if (req.readableEnded) process.nextTick(this.#onEnd);
    req.on('data', this.#onData).on('end', this.#onEnd).resume();
  }

  get waitsForUpstream(): boolean {
    return this.#waiting >= maxWaiting;
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearImmediate(this.#flushing);
    this.#options.req.off('data', this.#onData).off('end', this.#onEnd);
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#options.onBytes(bytes.length);
    if (this.#isStopped) return;
    this.#receivedBytes += bytes.length;
    this.#buffers ??= this.#options.openBuffers();
    for (let at = 0; at < bytes.length;) {
      this.#memory ??= this.#buffers.take();
      const copiedBytes = bytes.copy(this.#memory, this.#filledBytes, at);
      at += copiedBytes;
      this.#filledBytes += copiedBytes;
      const isFull = this.#filledBytes === this.#memory.length;
      if (isFull && !(at === bytes.length && this.#keepsBack())) this.#send(this.#memory, this.#buffers);
    }
    if (bytes.length >= minFreedBytes) this.#spent.push(bytes);
    this.#flushing ??= setImmediate(this.#flush);
  };

  readonly #onEnd = (): void => {
    const held = this.#options.beforeEnd?.();
    if (held === undefined) {
      this.#end();
      return;
    }
    this.isHeld = true;
    this.#flush();
    held.then(
      () => this.#end(),
      () => {}, // who holds it ends the request
    );
  };

  #end(): void {
    this.isHeld = false;
    if (this.#isStopped) return;
    this.#mayEnd = true;
    this.#flush();
    this.stop();
    this.#upstreamRequest.end();
  }

  #keepsBack(): boolean {
    return !this.#mayEnd && this.#receivedBytes >= this.#lastByteAt;
  }

  readonly #flush = (): void => {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#memory && this.#buffers && !this.#keepsBack()) this.#send(this.#memory, this.#buffers);
    if (this.#spent.length > 0) freeMemory(this.#spent);
    this.#spent = [];
  };

  #send(piece: Buffer, from: BodyBuffers): void {
    const { req } = this.#options;
    const bytes = piece.subarray(0, this.#filledBytes);
    this.#memory = undefined;
    this.#filledBytes = 0;
    this.#waiting += 1;
    if (this.waitsForUpstream) req.pause();
    this.#upstreamRequest.write(bytes, (error) => {
      if (error) return; // its memory may be in use still; upstream's failure is told elsewhere
      from.giveBack(piece);
      if (this.#isStopped) return;
      this.#waiting -= 1;
      req.resume();
    });
  }
}
