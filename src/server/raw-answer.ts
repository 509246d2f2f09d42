import type { Socket } from 'node:net';
import { formatErrorBody, OciError } from '../oci/error.ts';

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
export function answerRaw(socket: Socket, { status, code, message }: OciError, requestId: string): void {
  const body = formatErrorBody(code, message, requestId);
  socket.end(
    `HTTP/1.1 ${status} ${code}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
