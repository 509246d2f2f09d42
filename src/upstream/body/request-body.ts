import type { ClientRequest, IncomingMessage } from 'node:http';
import { headerValues } from '../../http/raw-headers.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { freeMemory } from '../../system/free-memory.ts';

export type RequestBodyOptions = {
  readonly req: IncomingMessage;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each piece as it comes; what is stopped in it goes no further. */
  readonly onBytes: (bytes: number) => void;
  /**
   * Called when all of the body is here: upstream gets the last of it when the promise resolves, and until then cannot act on it. Left out, or
   * undefined: at once.
   */
  readonly beforeEnd?: (() => Promise<void> | undefined) | undefined;
};

/** A request's body on its way to upstream. */
export type RequestBody = {
  /** Begins; what `Readable.pipe` does, and the one method of it that http-proxy calls. */
  pipe(upstreamRequest: ClientRequest): void;
  /** Whether upstream has yet to take what the client has sent. */
  readonly waitsForUpstream: boolean;
  /** Whether the last of it is being kept back. */
  readonly isHeld: boolean;
  /** Ends the passing on, wherever it is, and leaves the rest of the body unread. */
  stop(): void;
};

/** Smaller pieces are left to the garbage collector, in bytes: a list of them would take more than they do. */
const minFreedBytes = 1024;

/** How many pieces may wait for upstream. */
const maxWaiting = 2;

/**
 * Builds what passes a request's body on in fewer and larger pieces than it came in, a TLS record of 16 KiB each: what has come in
 * one turn of the event loop goes on together at its end. Where chunks end carries no meaning (RFC 9112 section 7.1).
 */
export function createRequestBody({ req, openBuffers, onBytes, beforeEnd }: RequestBodyOptions): RequestBody {
  let stop = () => {};
  let waiting = 0;
  let isHeld = false;
  /** With a length, upstream has all of a body as soon as it has its last byte. */
  const lastByteAt = beforeEnd ? Number(headerValues(req.rawHeaders, 'content-length')[0] ?? NaN) : NaN;

  const pipe = (upstreamRequest: ClientRequest) => {
    let isStopped = false;
    let buffers: BodyBuffers | undefined;
    /** What has come and not gone on, and the pieces that it was copied from. */
    let memory: Buffer | undefined;
    let filledBytes = 0;
    let spent: Buffer[] = [];
    let flushing: NodeJS.Immediate | undefined;
    let receivedBytes = 0;
    let mayEnd = false;
    const keepsBack = () => !mayEnd && receivedBytes >= lastByteAt;

    const send = (piece: Buffer, from: BodyBuffers) => {
      const bytes = piece.subarray(0, filledBytes);
      memory = undefined;
      filledBytes = 0;
      waiting += 1;
      if (waiting >= maxWaiting) req.pause();
      upstreamRequest.write(bytes, (error) => {
        if (error) return; // its memory may be in use still; upstream's failure is told elsewhere
        from.giveBack(piece);
        if (isStopped) return;
        waiting -= 1;
        req.resume();
      });
    };
    const flush = () => {
      clearImmediate(flushing);
      flushing = undefined;
      if (memory && buffers && !keepsBack()) send(memory, buffers);
      if (spent.length > 0) freeMemory(spent);
      spent = [];
    };
    const onData = (bytes: Buffer) => {
      onBytes(bytes.length);
      if (isStopped) return;
      receivedBytes += bytes.length;
      buffers ??= openBuffers();
      for (let at = 0; at < bytes.length;) {
        memory ??= buffers.take();
        const copiedBytes = bytes.copy(memory, filledBytes, at);
        at += copiedBytes;
        filledBytes += copiedBytes;
        if (filledBytes === memory.length && !(at === bytes.length && keepsBack())) send(memory, buffers);
      }
      if (bytes.length >= minFreedBytes) spent.push(bytes);
      flushing ??= setImmediate(flush);
    };
    const end = () => {
      isHeld = false;
      if (isStopped) return;
      mayEnd = true;
      flush();
      stop();
      upstreamRequest.end();
    };
    const onEnd = () => {
      const held = beforeEnd?.();
      if (held === undefined) {
        end();
        return;
      }
      isHeld = true;
      flush();
      held.then(end, () => {}); // who holds it ends the request
    };
    stop = () => {
      if (isStopped) return;
      isStopped = true;
      clearImmediate(flushing);
      req.off('data', onData).off('end', onEnd);
    };
    waiting = 0;
    if (req.readableEnded) process.nextTick(onEnd);
    req.on('data', onData).on('end', onEnd).resume();
  };

  return {
    pipe: (upstreamRequest) => {
      stop(); // an attempt that failed
      pipe(upstreamRequest);
    },
    get waitsForUpstream() {
      return waiting >= maxWaiting;
    },
    get isHeld() {
      return isHeld;
    },
    stop: () => {
      stop();
      req.pause();
    },
  };
}
