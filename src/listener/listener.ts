import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { describeWaiting, type WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import { OciError } from '../registry/error.ts';
import { headerValues } from '../http/raw-headers.ts';
import { createAcceptor, type AcceptedConnection, type AcceptorLimits } from './acceptor.ts';
import { openClientConnection, type ClientConnection, type ConnectionLimits } from './client-connection.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import { createRequestId, type Exchange, type Expectation } from '../pipeline/exchange.ts';
import { GatheredRequest } from './gathered-request.ts';
import { listen } from './listen.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { answerPlainHttp, respondOnSocket, describeClientError } from './socket-response.ts';
import { checkTls, secureContextOptions, type ListenerTls } from './tls-context.ts';

export type ListenerOptions = {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: ListenerTls;
  readonly limits: ListenerLimits;
  /** Whether each connection begins with a header of the PROXY protocol, from a trusted proxy. */
  readonly proxyProtocol: boolean;
  readonly addresses: ClientAddresses;
  readonly pipeline: Pipeline;
  readonly metrics: Pick<Metrics, 'throttled'>;
  readonly logger: Logger;
};

export type ListenerLimits = AcceptorLimits &
  ConnectionLimits & {
    /** Taken when the listener opens, and not later. */
    readonly headerBytes: number;
    readonly headerTimeoutMs: number;
    /** Taken when the listener opens, and not later. */
    readonly handshakeTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };

export type Listener = {
  readonly address: { readonly host: string; readonly port: number };
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds, then cuts what is left. */
  close(graceMs: number): Promise<void>;
  /** How many requests are under way. */
  readonly active: number;
  /** The requests under way. */
  readonly underWay: readonly Exchange[];
  /** How many TCP connections are open. */
  readonly connections: number;
  /** The same, with the oldest of them. */
  waiting(): WaitingRequests;
  /** @throws OperatorError when no handshake could be made with it. */
  checkTls(tls: ListenerTls): void;
  /** For the handshakes from now on. When they demand more than before, connections from before end with their present request. */
  useTls(tls: ListenerTls): void;
  useLimits(limits: ListenerLimits): void;
  /** For the requests from now on. Calls back when the last request of the one before has been answered. */
  usePipeline(pipeline: Pipeline, whenIdle: () => void): void;
  /** For the connections from now on. */
  useAddresses(addresses: ClientAddresses): void;
};

/** A pipeline, and how many of its requests are under way. */
type Serving = { readonly pipeline: Pipeline; active: number; whenIdle: (() => void) | null };

/** How long a client may take to close a connection that was ended towards it, in milliseconds. */
const lingerMs = 1000;

/** How often connections are looked through for heads that take too long, in milliseconds. */
const headCheckIntervalMs = 1000;

/**
 * Opens the public HTTPS listener, HTTP/1.1 over TLS.
 * @throws OperatorError when the address cannot be listened on.
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { logger } = options;
  let { tls, limits, addresses } = options;
  let serving: Serving = { pipeline: options.pipeline, active: 0, whenIdle: null };
  const server = createServer({
    IncomingMessage: GatheredRequest,
    ...secureContextOptions(tls),
    ...(tls.clientCa === null ? {} : { requestCert: true, rejectUnauthorized: true }),
    ALPNProtocols: ['http/1.1', 'http/1.0'],
    handshakeTimeout: limits.handshakeTimeoutMs,
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerTimeoutMs,
    connectionsCheckingInterval: headCheckIntervalMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    requestTimeout: 0, // an upload takes as long as it takes; silence is limited instead
    requireHostHeader: false, // checked in the pipeline, for an answer in the registry's form
  });
  server.maxHeadersCount = 0; // beyond a count Node would drop headers silently; headerBytes is the limit
  /** Every TCP connection, the TLS handshake done or not. */
  const sockets = new Set<Socket>();
  /** Every TLS connection. */
  const connections = new Map<Socket, ClientConnection>();
  /** Connections that end with the requests under way on them. */
  const ending = new Set<Socket>();
  let closing = false;

  const isEnding = (socket: Socket) => closing || (ending.size > 0 && ending.has(socket));
  const endIdle = (socket: Socket) => {
    ending.add(socket);
    socket.end();
    setTimeout(() => socket.destroy(), lingerMs).unref();
  };
  /** Ends what is idle, in good order and not by a reset, which could take an answer with it; and all else after its present request. */
  const endConnections = () => {
    for (const [socket, { underWay }] of connections) {
      ending.add(socket);
      // Not server.closeIdleConnections(): a connection whose first request has not come yet is not idle to Node.
      if (underWay.size === 0) endIdle(socket);
      for (const { res } of underWay) if (!res.headersSent) res.shouldKeepAlive = false;
    }
  };

  // Node's own listener begins TLS at once; here it is called when a connection has been let in.
  const startTls = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  /** How often more has come to be demanded of clients, and how often it had when a connection's handshake began. */
  let demands = 0;
  const demandsAtStart = new WeakMap<AcceptedConnection, number>();
  const acceptor = createAcceptor({
    limits,
    proxyProtocol: options.proxyProtocol,
    isTrusted: (address) => addresses.isTrusted(address),
    metrics: options.metrics,
    logger,
    startTls: (socket) => {
      const connection = acceptor.find(socket);
      if (connection) demandsAtStart.set(connection, demands);
      for (const start of startTls) start.call(server, socket);
    },
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    acceptor.accept(socket);
  });
  server.on('secureConnection', (socket) => {
    const connection = acceptor.find(socket);
    // One whose handshake began when less was demanded may have no certificate, or one of a CA that is trusted no more.
    if (!connection || demandsAtStart.get(connection) !== demands) {
      socket.destroy();
      return;
    }
    const client = openClientConnection(socket, {
      accepted: connection,
      limits: () => limits,
      countFor: acceptor.prove,
      onUnproven: acceptor.noteMore,
      onWaiting: acceptor.noteWaiting,
    });
    connections.set(socket, client);
    socket.once('close', () => {
      connections.delete(socket);
      ending.delete(socket);
      // Node tells only the response whose turn it is that its client has left.
      process.nextTick(() => {
        for (const { res } of client.underWay) res.destroy().emit('close');
      });
    });
  });

  const handle = (req: IncomingMessage, res: ServerResponse, expectation: Expectation) => {
    const { socket } = req;
    const client = connections.get(socket);
    const connection = client?.open(req);
    if (!client || !connection) {
      socket.destroy();
      return;
    }
    const { underWay } = client;
    if (isEnding(socket)) {
      if (!socket.writable) return; // it came as the connection was ended: its client sees that it was not acted upon
      res.shouldKeepAlive = false;
    }
    // Node drops what has come with such a request and stands behind it, so that nothing after it on the connection is to be believed.
    if (headerValues(req.rawHeaders, 'upgrade').length > 0) res.shouldKeepAlive = false;
    // One at a time: pipelined requests may not overtake each other unless all are safe (RFC 9112 section 9.3.2).
    const last = underWay.size === 0 ? undefined : [...underWay].at(-1);
    let served = serving;
    served.active += 1;
    const leaveService = () => {
      served.active -= 1;
      if (served.active === 0) served.whenIdle?.();
    };
    const turn =
      last &&
      new Promise<Pipeline>((resolve) => {
        // What follows an answer with Connection: close must not be acted upon (RFC 9112 section 9.6); the socket's close ends it.
        last.res.once('close', () => {
          if (!socket.writable) return;
          // What has waited begins now, by what holds now.
          leaveService();
          served = serving;
          served.active += 1;
          resolve(served.pipeline);
        });
      });
    const { peerAddress } = client.accepted;
    const exchange = served.pipeline.handle(req, res, {
      ...{ connection, expectation, turn, peerAddress },
      isDraining: closing,
    });
    client.begin(exchange);
    res.once('close', () => {
      const isCostly = client.end(exchange);
      if (underWay.size === 0 && isEnding(socket)) socket.destroySoon();
      else if (isCostly && socket.writable) endIdle(socket);
      leaveService();
    });
  };
  server.on('request', (req, res) => handle(req, res, 'none'));
  server.on('checkContinue', (req, res) => handle(req, res, 'continue'));
  server.on('checkExpectation', (req, res) => handle(req, res, 'unknown'));
  const refuseRaw = (socket: Socket, error: OciError, reason: string) => {
    const requestId = createRequestId();
    const client = connections.get(socket)?.accepted.peerAddress ?? '';
    logger.info({ requestId, client, status: error.status, code: error.code, reason }, 'bad request');
    respondOnSocket(socket, error, requestId);
  };
  server.on('connect', (_req, socket: Socket) => {
    socket.on('error', () => socket.destroy()); // Node has just taken its own listener off
    if (connections.get(socket)?.underWay.size === 0)
      refuseRaw(socket, new OciError('UNSUPPORTED', 'CONNECT is not supported.'), 'CONNECT');
    else socket.destroy(); // an earlier request waits for its answer: this one must not come in its place
  });
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    const underWay = connections.get(socket)?.underWay; // undefined: the handshake failed, or took too long
    // An answer here must not be taken for the one that an earlier request still waits for, or is being given.
    const answering = [...(underWay ?? [])].some(({ req, res }) => req.complete || res.headersSent);
    // Node closes the TCP connection of a failed handshake when this event is over, and what is written now is sent before.
    if (underWay === undefined)
      answerPlainHttp(error.code ?? '', (bytes) => acceptor.find(socket)?.endInClear(bytes));
    if (underWay === undefined || answering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
    } else refuseRaw(socket, describeClientError(error.code ?? ''), error.code ?? error.message);
  });
  server.on('tlsClientError', (error: Error & { code?: string }, socket) => {
    logger.debug(
      {
        client: acceptor.find(socket)?.peerAddress ?? socket.remoteAddress,
        reason: error.code ?? error.message,
      },
      'TLS handshake failed',
    );
  });

  // Idle means that it is the client's turn and it does nothing: a client that waits for upstream is not idle.
  server.setTimeout(limits.idleTimeoutMs, (socket: Socket) => {
    const [current] = connections.get(socket)?.underWay ?? []; // those behind it wait for their turn
    // No transfer: its credentials are being checked, or it was refused and the client does not read the refusal.
    if (current !== undefined && !(current.transfer?.waitsForClient() ?? current.res.headersSent))
      socket.setTimeout(limits.idleTimeoutMs);
    else socket.destroy();
  });

  const address = await listen(server, options.host, options.port);
  const requests = () => [...connections.values()].flatMap(({ underWay }) => [...underWay]);
  return {
    address,
    get underWay() {
      return requests();
    },
    get connections() {
      return sockets.size;
    },
    waiting: () => describeWaiting(requests(), performance.now()),
    checkTls,
    useTls: (next) => {
      // A new context forgets the sessions that clients would resume.
      if (isDeepStrictEqual(next, tls)) return;
      const demandsMore =
        (next.clientCa !== null && next.clientCa !== tls.clientCa) || next.minVersion > tls.minVersion;
      server.setSecureContext(secureContextOptions(next));
      // What node:tls looks at for each connection; setSecureContext does not set it.
      Object.assign(server, { requestCert: next.clientCa !== null });
      tls = next;
      if (!demandsMore) return;
      demands += 1;
      endConnections();
    },
    useLimits: (next) => {
      limits = next;
      server.headersTimeout = limits.headerTimeoutMs;
      server.keepAliveTimeout = limits.keepAliveTimeoutMs;
      server.timeout = limits.idleTimeoutMs;
      acceptor.useLimits(limits);
    },
    useAddresses: (next) => {
      addresses = next;
    },
    usePipeline: (pipeline, whenIdle) => {
      serving.whenIdle = whenIdle;
      if (serving.active === 0) whenIdle();
      serving = { pipeline, active: 0, whenIdle: null };
    },
    get active() {
      return [...connections.values()].reduce((sum, { underWay }) => sum + underWay.size, 0);
    },
    close: (graceMs) =>
      new Promise((resolve) => {
        closing = true;
        const cut = setTimeout(() => {
          const { count, oldest } = describeWaiting(requests(), performance.now());
          if (graceMs > 0 && count > 0)
            logger.warn({ count, oldest }, 'shutdown.timeout is over: the requests under way are cut');
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        // Not https' own close(): it destroys idle connections, and no longer looks for heads that take too long.
        NetServer.prototype.close.call(server, () => {
          clearTimeout(cut);
          acceptor.close();
          server.close(); // what else it has: the timer of those looks
          resolve();
        });
        endConnections();
      }),
  };
}
