import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerValues } from '../../http/raw-headers.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { divert } from '../direct-agent.ts';

export type DirectBodyOptions = {
  readonly incoming: IncomingMessage;
  readonly res: ServerResponse;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each piece as it is passed on. */
  readonly onBytes: (bytes: number) => void;
  /** Called when the last byte has been written. */
  readonly onEnd: () => void;
};

/** A body that goes from upstream's socket to the client's without passing Node's parser. */
export type DirectBody = {
  /** Whether the client has yet to take what has been read. */
  waitsForClient(): boolean;
  /** To be called at the transfer's end, whatever it is; upstream's socket must be destroyed with it. */
  close(): void;
};

/** What a body must have for this to pay, in bytes: the connection to upstream is given up for it. */
const minBodyBytes = 1024 * 1024;

/**
 * Passes the body of an answer to a GET on, straight from upstream's socket, when it is large and nothing but its length says where it
 * ends (RFC 9112 section 6.3): then there is nothing to parse in it. To be called in the 'response' event. Gives undefined where
 * that can't be; the body is then `incoming`'s, as ever.
 */
export function relayDirectly(options: DirectBodyOptions): DirectBody | undefined {
  const { incoming, res, openBuffers, onBytes, onEnd } = options;
  const { socket } = incoming;
  const client = res.socket;
  const bodyBytes = directLength(incoming);
  if (bodyBytes === undefined) return undefined;

  let leftBytes = bodyBytes;
  /** Pieces that wait for the client; nothing is read meanwhile. */
  let waiting = 0;
  let isClosed = false;
  let next: Buffer | undefined;

  const pass = (bytes: Buffer, memory?: Buffer): void => {
    leftBytes -= bytes.length;
    waiting += 1;
    res.write(bytes, (error) => {
      const isCut = isClosed && leftBytes > 0;
      // Memory of a write that was not carried out is left to the garbage collector: something may read it still.
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
      // From here on Node's message must not ask the socket for more, which each read of it would do.
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
      // What comes after the announced length is nobody's.
      pass(bytes.length > leftBytes ? bytes.subarray(0, leftBytes) : bytes, memory);
      return false;
    },
  });
  if (!isDiverted) return undefined;
  const buffers = openBuffers(); // the sink is not called before the response event is over
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
