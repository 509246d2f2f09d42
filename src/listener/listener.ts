import { createServer, type Server } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { describeWaiting, type WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import { createAcceptor, type AcceptorLimits } from './acceptor.ts';
import { createChallengeHandshakes, type ChallengeCertificates } from './challenge-handshakes.ts';
import { openClientConnection, type ClientConnection, type ConnectionLimits } from './client-connection.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import type { Exchange } from '../pipeline/exchange.ts';
import { GatheredRequest } from './gathered-request.ts';
import { listen } from './listen.ts';
import { createOpenConnections } from './limits/open-connections.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { createRequestHandler } from './request-handler.ts';
import { refuseOnSockets } from './socket-response.ts';
import { checkTls, followTlsDemands, tlsServerOptions, type ListenerTls } from './tls-context.ts';

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
    /** Read only when the listener opens. */
    readonly headerBytes: number;
    readonly headerTimeoutMs: number;
    /** Read only when the listener opens. */
    readonly handshakeTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };

export type Listener = {
  readonly address: { readonly host: string; readonly port: number };
  /** Stops accepting, lets requests in progress finish for `graceMs` milliseconds, then cuts the rest. */
  close(graceMs: number): Promise<void>;
  /** The requests in progress. */
  underWay(): readonly Exchange[];
  /** The number of open TCP connections. */
  connections(): number;
  /** Their number, with the oldest of them. */
  waiting(): WaitingRequests;
  /** @throws OperatorError when no handshake could succeed with it. */
  checkTls(tls: ListenerTls): void;
  /** Applies to later handshakes. If they demand more, existing connections end after their present request. */
  useTls(tls: ListenerTls): void;
  /** Answers checks of a CA with these certificates, by host. */
  useChallenges(certificates: ChallengeCertificates): void;
  useLimits(limits: ListenerLimits): void;
  /** Applies to later requests. Calls back when the last request of the previous pipeline has been answered. */
  usePipeline(pipeline: Pipeline, whenIdle: () => void): void;
  /** Applies to later connections. */
  useAddresses(addresses: ClientAddresses): void;
};

/** How often connections are checked for heads that take too long, in milliseconds. */
const headCheckIntervalMs = 1000;

/**
 * Opens the public HTTPS listener, HTTP/1.1 over TLS.
 * @throws OperatorError when it cannot listen on the address.
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { logger } = options;
  let { limits, addresses } = options;
  const server = createHttpsServer(options.tls, limits);
  const demands = followTlsDemands(server, options.tls);
  const startTls = takeTlsStart(server);
  const sockets = followSockets(server);
  const connections = createOpenConnections();
  const challenges = createChallengeHandshakes({ timeoutMs: limits.handshakeTimeoutMs });

  const acceptor = createAcceptor({
    limits,
    proxyProtocol: options.proxyProtocol,
    isTrusted: (address) => addresses.isTrusted(address),
    metrics: options.metrics,
    logger,
    startTls: (socket) => {
      const connection = acceptor.find(socket);
      challenges.begin(socket, () => {
        if (connection) demands.begin(connection);
        startTls(socket);
      });
    },
  });
  server.on('connection', (socket: Socket) => acceptor.accept(socket));
  server.on('secureConnection', (socket) => {
    const accepted = acceptor.find(socket);
    if (!accepted || !demands.areMet(accepted)) {
      socket.destroy();
      return;
    }
    const client = openClientConnection(socket, {
      accepted,
      limits: () => limits,
      countFor: acceptor.prove,
      onUnproven: acceptor.noteMore,
      onWaiting: acceptor.noteWaiting,
    });
    connections.add(socket, client);
  });

  const requests = createRequestHandler(connections, options.pipeline);
  server.on('request', (req, res) => requests.handle(req, res, 'none'));
  server.on('checkContinue', (req, res) => requests.handle(req, res, 'continue'));
  server.on('checkExpectation', (req, res) => requests.handle(req, res, 'unknown'));
  refuseOnSockets(server, { connections, acceptor, logger });
  server.setTimeout(limits.idleTimeoutMs, (socket: Socket) => {
    if (isIdle(connections.get(socket))) socket.destroy();
    else socket.setTimeout(limits.idleTimeoutMs);
  });

  const address = await listen(server, options.host, options.port);
  const waiting = () => describeWaiting(connections.requests(), performance.now());
  return {
    address,
    underWay: () => connections.requests(),
    connections: () => sockets.size,
    waiting,
    checkTls,
    useTls: (next) => {
      if (demands.use(next)) connections.endAll();
    },
    useChallenges: (certificates) => challenges.use(certificates),
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
    usePipeline: (pipeline, whenIdle) => requests.usePipeline(pipeline, whenIdle),
    close: async (graceMs) => {
      const cut = setTimeout(() => {
        const { count, oldest } = waiting();
        if (graceMs > 0 && count > 0)
          logger.warn({ count, oldest }, 'shutdown.timeout is over: the requests under way are cut');
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      const closed = closeServer(server);
      connections.close();
      await closed;
      clearTimeout(cut);
      acceptor.close();
    },
  };
}

function createHttpsServer(tls: ListenerTls, limits: ListenerLimits): Server {
  const server = createServer({
    IncomingMessage: GatheredRequest,
    ...tlsServerOptions(tls),
    handshakeTimeout: limits.handshakeTimeoutMs,
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerTimeoutMs,
    connectionsCheckingInterval: headCheckIntervalMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    requestTimeout: 0, // an upload may take any time; silence is limited instead
    requireHostHeader: false, // checked in the pipeline, to answer in the registry's format
  });
  server.maxHeadersCount = 0; // Node would silently drop headers beyond a count; headerBytes is the limit
  return server;
}

/**
 * Removes Node's own listener, which begins TLS at once on every connection; returns a function that begins TLS on an
 * accepted one.
 */
function takeTlsStart(server: Server): (socket: Socket) => void {
  const starts = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  return (socket) => {
    for (const start of starts) start.call(server, socket);
  };
}

/** Returns the open TCP connections of a server, with finished TLS handshake or not. */
function followSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

/** Stops accepting; resolves when the last connection has closed. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // Instead of https' own close(), which destroys idle connections, and stops checking for heads that take too long.
    NetServer.prototype.close.call(server, () => {
      server.close(); // the rest of close(): the timer of those checks
      resolve();
    });
  });
}

/** Whether a silent connection waits for its client: one that waits for upstream is not idle. */
function isIdle(connection: ClientConnection | undefined): boolean {
  const [current] = connection?.underWay ?? []; // the requests behind it wait
  // Without a transfer its credentials are being checked, or it was refused and the client does not read the refusal.
  return current === undefined || (current.transfer?.waitsForClient() ?? current.res.headersSent);
}
