import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { OciError } from '../registry/error.ts';
import { principalText } from '../registry/principal.ts';
import type { AcceptedConnection } from './acceptor.ts';
import type { Exchange, RequestConnection } from '../pipeline/exchange.ts';
import { headerValues } from '../http/raw-headers.ts';
import { announcesBody } from '../pipeline/framing.ts';
import { followHeldBytes, headBytes } from './held-bytes.ts';
import { controlReading } from './reading.ts';

export type ConnectionLimits = {
  readonly pipelinedRequests: number;
  /** The largest head of a request; when those that wait are larger together, no more is read. */
  readonly headerBytes: number;
};

export type ClientConnectionOptions = {
  readonly accepted: AcceptedConnection;
  readonly limits: () => ConnectionLimits;
  /** Counts a connection for a user; false: he or she has too many. */
  readonly countFor: (connection: AcceptedConnection, user: string) => boolean;
  /** Called when more has come on it, and nobody has shown a right password there. */
  readonly onUnproven: () => void;
  /** Called when something begins to wait on it although somebody has, and when nothing does any more. */
  readonly onWaiting: (connection: AcceptedConnection, waits: boolean) => void;
};

/** A TLS connection, and its requests that wait or are being answered. */
export type ClientConnection = {
  readonly accepted: AcceptedConnection;
  /** In the order of their coming. */
  readonly underWay: ReadonlySet<Exchange>;
  /** Takes a request in; null: there are too many, and the connection must end. */
  open(req: IncomingMessage): RequestConnection | null;
  /** To be called with the exchange of the request that was taken in. */
  begin(exchange: Exchange): void;
  /** To be called when it is over; gives whether the connection should end, since what it holds is not worth keeping. */
  end(exchange: Exchange): boolean;
};

/** How many requests may be under way before somebody has shown a right password, until no more is read: one is answered, one waits. */
const unprovenUnderWay = 2;

/** What may come with one request, in bytes: more on a connection without a user, and the connection ends with the answer. */
const unprovenBurstBytes = 16 * 1024;

/** A body up to this is read before it is wanted, in bytes: so a client that leaves meanwhile is noticed. */
const readAheadBytes = 16 * 1024;

/** When a user who has too many connections is to come again, in seconds. */
const retryAfterS = 5;

export function openClientConnection(socket: Socket, options: ClientConnectionOptions): ClientConnection {
  const { accepted, limits } = options;
  const underWay = new Set<Exchange>();
  const reading = controlReading(socket);
  const held = followHeldBytes(socket, underWay);
  accepted.heldBytes = held.held;
  accepted.waitingBytes = held.waiting;
  accepted.isIdle = () => underWay.size === 0;

  const waitsTooMuch = (): boolean => {
    if (underWay.size < 2) return false;
    if (!accepted.isProven() && underWay.size >= unprovenUnderWay) return true;
    return [...underWay].reduce((sum, { req }) => sum + headBytes(req), 0) > limits().headerBytes;
  };
  const readOn = () => {
    if (waitsTooMuch()) reading.hold('waiting');
    else reading.release('waiting');
  };

  /** The request whose body is not read: only the last one's can be on its way. */
  let unread: IncomingMessage | null = null;
  const readBodyOf = (req: IncomingMessage) => {
    if (unread !== req) return;
    unread = null;
    reading.release('body');
  };
  const leaveBodyOf = (req: IncomingMessage) => {
    unread = req;
    reading.hold('body');
  };
  // Not before the last of those that wait: one of them may come with a right password.
  const isCostly = () => !accepted.isProven() && underWay.size <= 1 && held.come() > unprovenBurstBytes;

  const createFor = (req: IncomingMessage, hasBody: boolean): RequestConnection => ({
    prove: (principal) => {
      if (!options.countFor(accepted, principalText(principal)))
        throw new OciError(
          'TOOMANYREQUESTS',
          'You have too many open connections, each with a request in progress: wait for some to end.',
          { headers: { 'Retry-After': String(retryAfterS) } },
        );
      if (hasBody && isReadAhead(req)) readBodyOf(req);
      if (hasBody || underWay.size > 1) options.onWaiting(accepted, true);
      readOn();
    },
    readBody: () => readBodyOf(req),
    leaveBody: () => leaveBodyOf(req),
    isCostly,
  });

  return {
    accepted,
    underWay,
    open: (req) => {
      if (underWay.size >= limits().pipelinedRequests) return null;
      const hasBody = announcesBody(req);
      const isProven = accepted.isProven();
      if (hasBody && !(isProven && isReadAhead(req))) leaveBodyOf(req);
      if (isProven && (hasBody || underWay.size > 0)) options.onWaiting(accepted, true);
      return createFor(req, hasBody);
    },
    begin: (exchange) => {
      held.begin();
      underWay.add(exchange);
      readOn();
      if (!accepted.isProven()) options.onUnproven();
    },
    end: (exchange) => {
      underWay.delete(exchange);
      // One that was answered before its body was whole ends the connection, and the rest stays unread.
      if (exchange.req.complete) readBodyOf(exchange.req);
      readOn();
      held.end(exchange);
      if (underWay.size > 0) return false;
      options.onWaiting(accepted, false);
      const wasCostly = isCostly();
      held.restart();
      return wasCostly;
    },
  };
}

/** Whether a request's body is so short that it is read as soon as it is known who sends it. */
function isReadAhead({ rawHeaders }: IncomingMessage): boolean {
  const [length = 'Infinity'] = headerValues(rawHeaders, 'content-length');
  return Number(length) <= readAheadBytes;
}
