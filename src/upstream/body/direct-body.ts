import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { headerValues } from '../../http/raw-headers.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { divert } from '../direct-agent.ts';

export type DirectBodyOptions = {
  readonly incoming: IncomingMessage;
  readonly res: ServerResponse;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each forwarded piece. */
  readonly onBytes: (bytes: number) => void;
  /** Called when the last byte has been written. */
  readonly onEnd: () => void;
};

/** A body that bypasses Node's parser, from upstream's socket to the client's. */
export type DirectBody = {
  /** Whether bytes wait for the client to read. */
  waitsForClient(): boolean;
  /** Call it at the end of the transfer, however it ended; upstream's socket must be destroyed then. */
  close(): void;
};

/** The smallest body for which this pays, in bytes: the connection to upstream is given up for it. */
const minBodyBytes = 1024 * 1024;
/** The same where upstream is https: a new connection costs a handshake. */
const minTlsBodyBytes = 8 * 1024 * 1024;

/**
 * Forwards the body of an answer to a GET straight from upstream's socket. Only for a large body that is framed by its
 * length alone (RFC 9112 section 6.3), which needs no parsing. Call it in the 'response' event. Returns undefined where
 * this is not possible; then `incoming` delivers the body as usual.
 */
export function relayDirectly(options: DirectBodyOptions): DirectBody | undefined {
  const { incoming, res, openBuffers, onBytes, onEnd } = options;
  const { socket } = incoming;
  const client = res.socket;
  const bodyBytes = announcedLength(incoming);
  /** TLS gives a record of 16 KiB at a time: those that arrive in one iteration of the event loop are joined. */
  const joins = socket instanceof TLSSocket;
  if (bodyBytes === undefined || bodyBytes < (joins ? minTlsBodyBytes : minBodyBytes)) return undefined;

  let leftBytes = bodyBytes;
  /** Pieces that wait for the client; meanwhile nothing is read. */
  let waiting = 0;
  let isClosed = false;
  /** The memory that is read into: its first `sentBytes` were passed on, those up to `filledBytes` were not. */
  let memory: Buffer | undefined;
  let sentBytes = 0;
  let filledBytes = 0;
  let joining: NodeJS.Immediate | undefined;

  /** @param spent memory that nothing needs once these bytes are written */
  const pass = (bytes: Buffer, spent?: Buffer): void => {
    leftBytes -= bytes.length;
    waiting += 1;
    res.write(bytes, (error) => {
      const isCut = isClosed && leftBytes > 0;
      // The memory of a failed write is left to the garbage collector, since it may still be read.
      if (error || isCut || client?.destroyed !== false) return;
      waiting -= 1;
      if (spent) buffers.giveBack(spent);
      if (!isClosed && waiting === 0) socket.resume();
    });
    onBytes(bytes.length);
    if (leftBytes === 0) onEnd();
  };
  /** @param spent the memory, if what is read next goes into another one */
  const passFilled = (from: Buffer, spent?: Buffer): void => {
    clearImmediate(joining);
    joining = undefined;
    // Bytes after the announced length belong to no answer.
    const end = Math.min(filledBytes, sentBytes + leftBytes);
    const bytes = from.subarray(sentBytes, end);
    sentBytes = filledBytes;
    if (spent) {
      memory = undefined;
      sentBytes = filledBytes = 0;
    }
    pass(bytes, spent);
  };

  const isDiverted = divert(socket, {
    begin: () => {
      // From here on Node's message must not request more from the socket, which each read of it would do.
      incoming._read = () => {};
      const parsed = incoming.read() as Buffer | null;
      if (parsed) pass(parsed);
      return waiting === 0;
    },
    nextBuffer: () => {
      if (isClosed) return undefined;
      memory ??= buffers.take();
      return memory.subarray(filledBytes);
    },
    onBytes: (bytes) => {
      const filled = memory;
      if (isClosed || !filled) return false;
      filledBytes += bytes.length;
      if (joins && filledBytes < filled.length && filledBytes - sentBytes < leftBytes) {
        joining ??= setImmediate(() => {
          socket.pause();
          // The next record's place in this memory has been chosen already.
          passFilled(filled);
        });
        return true;
      }
      passFilled(filled, filled);
      return false;
    },
  });
  if (!isDiverted) return undefined;
  const buffers = openBuffers(); // the sink is not called before the response event has ended
  const close = () => {
    isClosed = true;
    clearImmediate(joining);
  };
  return { waitsForClient: () => waiting > 0, close };
}

/** The length of a body that is framed by it alone. */
function announcedLength({ statusCode, rawHeaders }: IncomingMessage): number | undefined {
  if (statusCode !== 200 && statusCode !== 206) return undefined;
  if (headerValues(rawHeaders, 'transfer-encoding').length > 0) return undefined;
  const [length = '', ...more] = headerValues(rawHeaders, 'content-length');
  return more.length === 0 && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}
