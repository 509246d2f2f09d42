import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { OciError } from '../registry/error.ts';
import { principalText } from '../registry/principal.ts';
import type { AcceptedConnection } from './acceptor.ts';
import type { Exchange, RequestConnection } from '../pipeline/exchange.ts';
import { headerValues } from '../http/raw-headers.ts';
import { announcesBody } from '../pipeline/framing.ts';
import { followHeldBytes, headBytes } from './limits/held-bytes.ts';
import { controlReading } from './reading.ts';

export type ConnectionLimits = {
  readonly pipelinedRequests: number;
  /** The largest head of a request; reading stops while waiting heads exceed it together. */
  readonly headerBytes: number;
};

export type ClientConnectionOptions = {
  readonly accepted: AcceptedConnection;
  readonly limits: () => ConnectionLimits;
  /** Counts a connection for a user; false: the user has too many. */
  readonly countFor: (connection: AcceptedConnection, user: string) => boolean;
  /** Called when it has received more while unauthenticated. */
  readonly onUnproven: () => void;
  /** Called when something begins to wait on it while authenticated, and when nothing waits any more. */
  readonly onWaiting: (connection: AcceptedConnection, waits: boolean) => void;
};

/** A TLS connection, with its requests that wait or are being answered. */
export type ClientConnection = {
  readonly accepted: AcceptedConnection;
  /** In order of arrival. */
  readonly underWay: ReadonlySet<Exchange>;
  /** Adds a request; null: there are too many, and the connection must end. */
  open(req: IncomingMessage): RequestConnection | null;
  /** Call it with the exchange of the added request. */
  begin(exchange: Exchange): void;
  /** Call it when it is over; returns whether the connection should end, since it holds too much memory. */
  end(exchange: Exchange): boolean;
};

/**
 * How many requests may be in progress on an unauthenticated connection before reading stops: one is answered, one
 * waits.
 */
const unprovenUnderWay = 2;

/**
 * How much one request may bring on an unauthenticated connection, in bytes; after more, the connection ends with the
 * answer.
 */
const unprovenBurstBytes = 16 * 1024;

/** A body up to this size is read early, in bytes, so that a client that leaves is noticed. */
const readAheadBytes = 16 * 1024;

/** The Retry-After for a user with too many connections, in seconds. */
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

  /** The request whose body is not read: only the last one's can be arriving. */
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
  // Not before the last waiting one: an earlier one may authenticate the connection.
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
      // A request answered before its body was complete ends the connection, and the rest stays unread.
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

/** Whether a request's body is so short that it is read as soon as the client is authenticated. */
function isReadAhead({ rawHeaders }: IncomingMessage): boolean {
  const [length = 'Infinity'] = headerValues(rawHeaders, 'content-length');
  return Number(length) <= readAheadBytes;
}
