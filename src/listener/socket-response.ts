import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { createRequestId } from '../pipeline/exchange.ts';
import { formatErrorBody, OciError } from '../registry/error.ts';
import type { Acceptor } from './acceptor.ts';
import type { OpenConnections } from './limits/open-connections.ts';

type ClientError = Error & { readonly code?: string };

/**
 * Refuses on the socket itself what never becomes a request: CONNECT, errors of Node's parser or timers, and plain
 * HTTP.
 */
export function refuseOnSockets(
  server: Server,
  {
    connections,
    acceptor,
    logger,
  }: {
    readonly connections: Pick<OpenConnections, 'get'>;
    readonly acceptor: Pick<Acceptor, 'find'>;
    readonly logger: Logger;
  },
): void {
  const refuse = (socket: Socket, error: OciError, reason: string) => {
    const requestId = createRequestId();
    const client = connections.get(socket)?.accepted.peerAddress ?? '';
    logger.info({ requestId, client, status: error.status, code: error.code, reason }, 'bad request');
    respondOnSocket(socket, error, requestId);
  };
  server.on('connect', (_req, socket: Socket) => {
    socket.on('error', () => socket.destroy()); // Node has just removed its own listener
    if (connections.get(socket)?.underWay.size === 0)
      refuse(socket, new OciError('UNSUPPORTED', 'CONNECT is not supported.'), 'CONNECT');
    else socket.destroy(); // an earlier request waits for its answer, which this one must not precede
  });
  server.on('clientError', (error: ClientError, socket: Socket) => {
    const underWay = connections.get(socket)?.underWay; // undefined: the handshake failed, or took too long
    // This answer must not be taken for that of an earlier request, waiting or being sent.
    const answering = [...(underWay ?? [])].some(({ req, res }) => req.complete || res.headersSent);
    // Node closes the TCP connection of a failed handshake after this event; bytes written now are sent before.
    if (underWay === undefined)
      answerPlainHttp(error.code ?? '', (bytes) => acceptor.find(socket)?.endInClear(bytes));
    if (underWay === undefined || answering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
    } else refuse(socket, describeClientError(error.code ?? ''), error.code ?? error.message);
  });
  server.on('tlsClientError', (error: ClientError, socket) => {
    logger.debug(
      {
        client: acceptor.find(socket)?.peerAddress ?? socket.remoteAddress,
        reason: error.code ?? error.message,
      },
      'TLS handshake failed',
    );
  });
}

/** Answers what Node's parser or timers refused before there was a request. */
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

/** Answers on the socket itself, without a request, and closes it. */
function respondOnSocket(socket: Socket, { status, code, message }: OciError, requestId: string): void {
  const body = formatErrorBody(code, message, requestId);
  socket.end(
    `HTTP/1.1 ${status} ${code}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** OpenSSL's errors for a first record that begins an HTTP request: a GET, HEAD, POST or PUT, or a CONNECT. */
const plainHttpCodes: ReadonlySet<string> = new Set(['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_HTTPS_PROXY_REQUEST']);

const plainHttpSentence = 'This port speaks HTTPS only: use https:// in place of http://.\n';

/** The answer to HTTP without TLS, the same for everyone: nothing of the request has been read. */
const plainHttpAnswer =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n' +
  `Content-Length: ${plainHttpSentence.length}\r\nConnection: close\r\n\r\n${plainHttpSentence}`;

/**
 * Answers a client whose handshake failed because it sent HTTP without TLS. `end` writes in clear, bypassing TLS, and
 * ends the connection.
 */
function answerPlainHttp(handshakeError: string, end: (bytes: string) => void): void {
  if (plainHttpCodes.has(handshakeError)) end(plainHttpAnswer);
}
