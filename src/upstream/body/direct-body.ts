import type { IncomingMessage, ServerResponse } from 'node:http';
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

/**
 * Forwards the body of an answer to a GET straight from upstream's socket. Only for a large body that is framed by its
 * length alone (RFC 9112 section 6.3), which needs no parsing. Call it in the 'response' event. Returns undefined where
 * this is not possible; then `incoming` delivers the body as usual.
 */
export function relayDirectly(options: DirectBodyOptions): DirectBody | undefined {
  const { incoming, res, openBuffers, onBytes, onEnd } = options;
  const { socket } = incoming;
  const client = res.socket;
  const bodyBytes = directLength(incoming);
  if (bodyBytes === undefined) return undefined;

  let leftBytes = bodyBytes;
  /** Pieces that wait for the client; meanwhile nothing is read. */
  let waiting = 0;
  let isClosed = false;
  let next: Buffer | undefined;

  const pass = (bytes: Buffer, memory?: Buffer): void => {
    leftBytes -= bytes.length;
    waiting += 1;
    res.write(bytes, (error) => {
      const isCut = isClosed && leftBytes > 0;
      // The memory of a failed write is left to the garbage collector, since it may still be read.
      if (error || isCut || client?.destroyed !== false) return;
      waiting -= 1;
      if (memory) buffers.giveBack(memory);
      if (!isClosed && waiting === 0) socket.resume();
    });
    onBytes(bytes.length);
    if (leftBytes === 0) onEnd();
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
      if (!isClosed) next ??= buffers.take();
      return next;
    },
    onBytes: (bytes) => {
      const memory = next;
      next = undefined;
      if (isClosed || !memory) return false;
      // Bytes after the announced length belong to no answer.
      pass(bytes.length > leftBytes ? bytes.subarray(0, leftBytes) : bytes, memory);
      return false;
    },
  });
  if (!isDiverted) return undefined;
  const buffers = openBuffers(); // the sink is not called before the response event has ended
  const close = () => {
    isClosed = true;
  };
  return { waitsForClient: () => waiting > 0, close };
}

function directLength({ statusCode, rawHeaders }: IncomingMessage): number | undefined {
  if (statusCode !== 200 && statusCode !== 206) return undefined;
  if (headerValues(rawHeaders, 'transfer-encoding').length > 0) return undefined;
  const [length = '', ...more] = headerValues(rawHeaders, 'content-length');
  if (more.length > 0 || !/^\d{1,15}$/.test(length) || Number(length) < minBodyBytes) return undefined;
  return Number(length);
}
