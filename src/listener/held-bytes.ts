import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Exchange } from '../pipeline/exchange.ts';

/** What a connection holds, in bytes, as far as can be seen. */
export type HeldBytes = {
  /** What has come since it was idle last, and has neither gone on nor been answered. */
  come(): number;
  /** The same, with what stands for it in memory. */
  readonly held: () => number;
  /** What of it waits: requests behind another, and bodies that nobody reads yet. */
  readonly waiting: () => number;
  /** To be called when a request has come, before it is under way. */
  begin(): void;
  /** To be called when a request is no longer under way. */
  end(exchange: Exchange): void;
  /** To be called when the connection has become idle. */
  restart(): void;
};

/** What a request that waits takes beside its bytes: the objects that stand for it. */
const waitingBytes = 8 * 1024;

/** What the name or the value of a field takes beside its bytes, of which it may have one. */
const fieldTextBytes = 32;

/** Follows what a connection holds. @param underWay its requests, in the order of their coming */
export function followHeldBytes(socket: Socket, underWay: ReadonlySet<Exchange>): HeldBytes {
  /** What had come when it was idle last, and what of that is held no more: bodies that went on, and heads of requests that were over before the last came. */
  let idleAtBytes = socket.bytesRead;
  let releasedBytes = 0;
  /** The heads of requests that ended since the last one came. */
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
      // Its client may have read an answer before this side knows that it was through: what asked for it is held no more.
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

/** A head as it came (RFC 9112 section 3), but for odd white space. */
function wireBytes(req: IncomingMessage): number {
  return headBytes(req) + (req.method?.length ?? 0) + ' HTTP/1.1 \r\n\r\n'.length + 2 * req.rawHeaders.length;
}

/** What stands for the requests behind the first. */
function objectBytes({ size }: ReadonlySet<Exchange>): number {
  return Math.max(0, size - 1) * waitingBytes;
}

/** What a head takes beside its bytes. */
function fieldBytes({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.length * fieldTextBytes;
}
