import type { Socket } from 'node:net';
import { formatErrorBody, OciError } from '../registry/error.ts';

/** What Node's parser or its timers refused before there was a request to answer. */
export function describeClientError(code: string): OciError {
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

/** Answers on the socket itself, where there is no request to answer, and closes it. */
export function respondOnSocket(
  socket: Socket,
  { status, code, message }: OciError,
  requestId: string,
): void {
  const body = formatErrorBody(code, message, requestId);
  socket.end(
    `HTTP/1.1 ${status} ${code}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** What OpenSSL calls a first record that is the beginning of an HTTP request: of a GET, HEAD, POST or PUT, or of a CONNECT. */
const plainHttpCodes: ReadonlySet<string> = new Set(['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_HTTPS_PROXY_REQUEST']);

const plainHttpSentence = 'This port speaks HTTPS only: use https:// in place of http://.\n';

/** The answer to HTTP without TLS, the same for everyone: nothing of the request has been looked at. */
const plainHttpAnswer =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n' +
  `Content-Length: ${plainHttpSentence.length}\r\nConnection: close\r\n\r\n${plainHttpSentence}`;

/** Answers a client whose handshake failed because it speaks HTTP without TLS. `end` writes past TLS, in clear, and ends the connection. */
export function answerPlainHttp(handshakeError: string, end: (bytes: string) => void): void {
  if (plainHttpCodes.has(handshakeError)) end(plainHttpAnswer);
}
