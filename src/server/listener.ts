import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { isIPv6, type AddressInfo, type Socket } from 'node:net';
import type { SecureVersion } from 'node:tls';
import type { Logger } from 'pino';
import { OperatorError } from '../operator-error.ts';
import { formatErrorBody, OciError } from '../oci/error.ts';
import { normalizeAddress } from './client-address.ts';
import { createRequestId, type Exchange, type Expectation } from './exchange.ts';
import type { Pipeline } from './pipeline.ts';

export type ListenerOptions = {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: {
    readonly cert: string;
    readonly key: string;
    readonly minVersion: SecureVersion;
    /** PEM of the CAs whose client certificates are demanded; null: none is. */
    readonly clientCa: string | null;
  };
  readonly limits: {
    readonly headerBytes: number;
    readonly headerTimeoutMs: number;
    readonly handshakeTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    readonly idleTimeoutMs: number;
    readonly connections: number;
    readonly pipelinedRequests: number;
  };
  readonly pipeline: Pipeline;
  readonly logger: Logger;
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
};

/**
 * The cipher suites, the preferred first: of those that encrypt and authenticate at once, with a key that a later theft
 * of the certificate's does not reveal (RFC 9325 section 4.2). AES-128 is as safe here as AES-256, and measurably cheaper.
 */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** Connections that the kernel completes ahead of us, at most; it also has a limit of its own (net.core.somaxconn, 4096 by default). */
const backlog = 4096;

/** How often connections are looked through for heads that take too long, in milliseconds. */
const headCheckIntervalMs = 1000;

/**
 * Opens the public HTTPS listener, HTTP/1.1 over TLS.
 * @throws OperatorError when the address cannot be listened on.
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { tls, limits, pipeline, logger } = options;
  const server = createServer({
    cert: tls.cert,
    key: tls.key,
    minVersion: tls.minVersion,
    ciphers,
    ...(tls.clientCa === null ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
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
  server.maxConnections = limits.connections;
  /** Every TCP connection, the TLS handshake done or not. */
  const sockets = new Set<Socket>();
  /** Every TLS connection, with its requests that wait or are being answered, in order. */
  const connections = new Map<Socket, Set<Exchange>>();
  let closing = false;

  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('secureConnection', (socket) => {
    const underWay = new Set<Exchange>();
    connections.set(socket, underWay);
    socket.once('close', () => {
      connections.delete(socket);
      // Node tells only the response whose turn it is that its client has left.
      process.nextTick(() => {
        for (const { res } of underWay) res.destroy().emit('close');
      });
    });
  });

  const handle = (req: IncomingMessage, res: ServerResponse, expectation: Expectation) => {
    const { socket } = req;
    const underWay = connections.get(socket);
    if (underWay === undefined || underWay.size >= limits.pipelinedRequests) {
      socket.destroy();
      return;
    }
    if (closing) res.shouldKeepAlive = false;
    // One at a time: pipelined requests may not overtake each other unless all are safe (RFC 9112 section 9.3.2).
    const last = underWay.size === 0 ? undefined : [...underWay].at(-1);
    const turn =
      last &&
      new Promise<void>((resolve) => {
        // What follows an answer with Connection: close must not be acted upon (RFC 9112 section 9.6); the socket's close ends it.
        last.res.once('close', () => socket.writable && resolve());
      });
    const exchange = pipeline.handle(req, res, { expectation, turn });
    underWay.add(exchange);
    res.once('close', () => {
      underWay.delete(exchange);
      if (closing && underWay.size === 0) socket.destroySoon();
    });
  };
  server.on('request', (req, res) => handle(req, res, 'none'));
  server.on('checkContinue', (req, res) => handle(req, res, 'continue'));
  server.on('checkExpectation', (req, res) => handle(req, res, 'unknown'));
  const refuseRaw = (socket: Socket, error: OciError, reason: string) => {
    const requestId = createRequestId();
    const client = normalizeAddress(socket.remoteAddress ?? '');
    logger.info({ requestId, client, status: error.status, code: error.code, reason }, 'bad request');
    answerRaw(socket, error, requestId);
  };
  server.on('connect', (_req, socket: Socket) => {
    socket.on('error', () => socket.destroy()); // Node has just taken its own listener off
    if (connections.get(socket)?.size === 0)
      refuseRaw(socket, new OciError('UNSUPPORTED', 'CONNECT is not supported.'), 'CONNECT');
    else socket.destroy(); // an earlier request waits for its answer: this one must not come in its place
  });
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    const underWay = connections.get(socket); // undefined: the handshake failed, or took too long
    // An answer here must not be taken for the one that an earlier request still waits for, or is being given.
    const answering = [...(underWay ?? [])].some(({ req, res }) => req.complete || res.headersSent);
    if (underWay === undefined || answering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
    } else refuseRaw(socket, describeClientError(error.code ?? ''), error.code ?? error.message);
  });
  server.on('tlsClientError', (error: Error & { code?: string }, socket) => {
    logger.debug(
      { client: socket.remoteAddress, reason: error.code ?? error.message },
      'TLS handshake failed',
    );
  });
  server.on(
    'drop',
    logEveryMinute(() =>
      logger.warn(
        { limit: limits.connections },
        'connections refused: limits.connections is reached, or a part of it that one worker has',
      ),
    ),
  );

  // Idle means that it is the client's turn and it does nothing: a client that waits for upstream is not idle.
  server.setTimeout(limits.idleTimeoutMs, (socket: Socket) => {
    const [current] = connections.get(socket) ?? []; // those behind it wait for their turn
    // No transfer: its credentials are being checked, or it was refused and the client does not read the refusal.
    if (current !== undefined && !(current.transfer?.waitsForClient() ?? current.res.headersSent))
      socket.setTimeout(limits.idleTimeoutMs);
    else socket.destroy();
  });

  const address = await listen(server, options.host, options.port);
  return {
    address,
    get underWay() {
      return [...connections.values()].flatMap((exchanges) => [...exchanges]);
    },
    get connections() {
      return sockets.size;
    },
    get active() {
      return [...connections.values()].reduce((sum, underWay) => sum + underWay.size, 0);
    },
    close: (graceMs) =>
      new Promise((resolve) => {
        closing = true;
        const cut = setTimeout(() => {
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        for (const [socket, underWay] of connections) {
          // Not server.closeIdleConnections(): a connection whose first request has not come yet is not idle to Node.
          if (underWay.size === 0) socket.destroy();
          for (const { res } of underWay) if (!res.headersSent) res.shouldKeepAlive = false;
        }
      }),
  };
}

async function listen(server: Server, host: string, port: number): Promise<{ host: string; port: number }> {
  const attempt = (on: string) =>
    new Promise<AddressInfo>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: on, port, backlog, ipv6Only: false }, () => {
        server.off('error', reject);
        resolve(server.address() as AddressInfo);
      });
    });
  try {
    const { address, port: actual } = await attempt(host).catch((error: unknown) => {
      // "::" stands for both IP versions, and serves IPv4 alone where the kernel has no IPv6.
      const { code } = error as NodeJS.ErrnoException;
      if (host === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL')) return attempt('0.0.0.0');
      throw error;
    });
    return { host: address, port: actual };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const where = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
    const reasons: Readonly<Record<string, string>> = {
      EADDRINUSE: 'another program listens there already; stop it, or choose another listen.port',
      EACCES: `ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another listen.port, such as 8443`,
      EADDRNOTAVAIL:
        'this machine has no such address; set listen.host to one that it has, or to "::" for all',
      ENOTFOUND: 'that host name does not resolve; set listen.host to an address, or to "::" for all',
    };
    throw new OperatorError(`Cannot listen on ${where}: ${reasons[code ?? ''] ?? message}.`);
  }
}

/** What Node's parser or its timers refused before there was a request to answer. */
function describeClientError(code: string): OciError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new OciError(
      'HEADERS_TOO_LARGE',
      'The request line and headers are larger than limits.headerBytes allows.',
    );
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new OciError('REQUEST_TIMEOUT', 'The request line and headers did not arrive in time.');
  }
  return new OciError('BAD_REQUEST', 'This is not a valid HTTP/1.1 request.');
}

function answerRaw(socket: Socket, { status, code, message }: OciError, requestId: string): void {
  const body = formatErrorBody(code, message, requestId);
  socket.end(
    `HTTP/1.1 ${status} ${code}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function logEveryMinute(log: () => void): () => void {
  let quietUntilMs = 0;
  return () => {
    if (Date.now() < quietUntilMs) return;
    quietUntilMs = Date.now() + 60_000;
    log();
  };
}
