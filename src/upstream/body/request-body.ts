import type { ClientRequest, IncomingMessage } from 'node:http';
import { headerValues } from '../../http/raw-headers.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { freeMemory } from '../../system/free-memory.ts';

export type RequestBodyOptions = {
  readonly req: IncomingMessage;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each piece on arrival. It may call `stop`; the piece is then not forwarded. */
  readonly onBytes: (bytes: number) => void;
  /**
   * Called when the whole body has arrived. Upstream gets the last bytes, and so can act on the request, only when the
   * promise resolves. Without a promise it gets them at once.
   */
  readonly beforeEnd?: (() => Promise<void> | undefined) | undefined;
};

/** A request's body on its way to upstream. */
export type RequestBody = {
  /** Starts forwarding, like `Readable.pipe`: the only method of the body that http-proxy calls. */
  pipe(upstreamRequest: ClientRequest): void;
  /** Whether the client's bytes wait for upstream. */
  waitsForUpstream(): boolean;
  /** Whether `beforeEnd` holds back the last bytes. */
  isHeld(): boolean;
  /** Stops forwarding, and leaves the rest of the body unread. */
  stop(): void;
};

/** Smaller pieces, in bytes, are left to the garbage collector: a list of them would use more memory than they do. */
const minFreedBytes = 1024;

/** How many pieces may wait for upstream. */
const maxWaiting = 2;

/**
 * Forwards a request's body in fewer and larger pieces than it arrives in (TLS records of 16 KiB). It joins the bytes that
 * arrive in one iteration of the event loop. The ends of chunks carry no meaning (RFC 9112 section 7.1).
 */
export function createRequestBody(options: RequestBodyOptions): RequestBody {
  const { req } = options;
  let passage: BodyPassage | undefined;
  return {
    pipe: (upstreamRequest) => {
      passage?.stop(); // an attempt that failed
      passage = new BodyPassage(options, upstreamRequest);
    },
    waitsForUpstream: () => passage?.waitsForUpstream === true,
    isHeld: () => passage?.isHeld === true,
    stop: () => {
      passage?.stop();
      req.pause();
    },
  };
}

/** Forwards a body to one request to upstream. */
class BodyPassage {
  isHeld = false;
  readonly #options: RequestBodyOptions;
  readonly #upstreamRequest: ClientRequest;
  /** With a Content-Length, upstream knows the body's end at its last byte; NaN: without, or nothing to hold back. */
  readonly #lastByteAt: number;
  #receivedBytes = 0;
  #waiting = 0;
  #mayEnd = false;
  #isStopped = false;
  #buffers: BodyBuffers | undefined;
  /** Bytes that are not forwarded yet, and the pieces that they were copied from. */
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
      () => {}, // the caller ends the request
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
      if (error) return; // its memory may still be in use; upstream's failure is handled elsewhere
      from.giveBack(piece);
      if (this.#isStopped) return;
      this.#waiting -= 1;
      req.resume();
    });
  }
}
