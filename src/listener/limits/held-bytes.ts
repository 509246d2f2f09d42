import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Exchange } from '../../pipeline/exchange.ts';

/** What a connection holds, in bytes, as far as known. */
export type HeldBytes = {
  /** The bytes received since it was last idle, and neither forwarded nor answered. */
  come(): number;
  /** The same, with the memory of the objects that represent it. */
  readonly held: () => number;
  /** The waiting part of it: pipelined requests, and bodies not read yet. */
  readonly waiting: () => number;
  /** Call it when a request has arrived, before it is in progress. */
  begin(): void;
  /** Call it when a request is no longer in progress. */
  end(exchange: Exchange): void;
  /** Call it when the connection has become idle. */
  restart(): void;
};

/** The overhead of a waiting request besides its bytes: its objects. */
const waitingBytes = 8 * 1024;

/** The overhead of a field's name or value, which may have one byte itself. */
const fieldTextBytes = 32;

/** Tracks what a connection holds. @param underWay its requests, in order of arrival */
export function followHeldBytes(socket: Socket, underWay: ReadonlySet<Exchange>): HeldBytes {
  /**
   * The bytes received when it was last idle, and those no longer held since: forwarded bodies, and heads of requests
   * that were over before the last arrived.
   */
  let idleAtBytes = socket.bytesRead;
  let releasedBytes = 0;
  /** The heads of requests that ended since the last one arrived. */
  let endedBytes = 0;
  const answered = new WeakSet<Exchange>();

  const come = (): number => {
    const streaming = [...underWay].reduce((sum, { transfer }) => sum + (transfer?.bytesIn ?? 0), 0);
    return Math.max(0, socket.bytesRead - idleAtBytes - releasedBytes - streaming);
  };
  return {
    come,
    held: () => [...underWay].reduce((sum, { req }) => sum + fieldBytes(req), come() + objectBytes(underWay)),
    waiting: () => {
      const [first] = underWay;
      let sum = objectBytes(underWay);
      for (const exchange of underWay) {
        if (exchange !== first) sum += headBytes(exchange.req) + fieldBytes(exchange.req);
        if (exchange.transfer === null) sum += exchange.req.readableLength;
      }
      return sum;
    },
    begin: () => {
      // Its client may have read an answer before this side noticed its end: that request's bytes are no longer held.
      for (const each of underWay)
        if (each.res.writableEnded && !answered.has(each)) {
          answered.add(each);
          releasedBytes += wireBytes(each.req);
        }
      releasedBytes += endedBytes;
      endedBytes = 0;
    },
    end: (exchange) => {
      releasedBytes += exchange.transfer?.bytesIn ?? 0;
      if (!answered.has(exchange)) endedBytes += wireBytes(exchange.req);
    },
    restart: () => {
      idleAtBytes = socket.bytesRead;
      releasedBytes = 0;
      endedBytes = 0;
    },
  };
}

/** The request line's target and the fields of a request. */
export function headBytes({ url = '', rawHeaders }: IncomingMessage): number {
  return rawHeaders.reduce((sum, text) => sum + text.length, url.length);
}

/** The size of a head as received (RFC 9112 section 3), except odd white space. */
function wireBytes(req: IncomingMessage): number {
  return headBytes(req) + (req.method?.length ?? 0) + ' HTTP/1.1 \r\n\r\n'.length + 2 * req.rawHeaders.length;
}

/** The overhead of the requests behind the first. */
function objectBytes({ size }: ReadonlySet<Exchange>): number {
  return Math.max(0, size - 1) * waitingBytes;
}

/** The overhead of a head besides its bytes. */
function fieldBytes({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.length * fieldTextBytes;
}
