import { STATUS_CODES } from 'node:http';
import { formatErrorBody, OciError, type OciErrorCode } from '../registry/error.ts';
import { freeMemory } from '../system/free-memory.ts';
import type { Exchange } from './exchange.ts';
import type { RefusedBodies } from './refused-bodies.ts';

const ambiguous: ReadonlySet<OciErrorCode> = new Set(['BAD_REQUEST', 'LENGTH_REQUIRED']);

/** By then another Tidegate may serve, or this one again. */
const retryAfterDrainSeconds = 10;

/** The 503 for a request that arrives during the drain. */
export function draining(): OciError {
  return new OciError('UNAVAILABLE', 'Tidegate is shutting down; try again in a moment.', {
    headers: { 'Retry-After': String(retryAfterDrainSeconds) },
  });
}

/** Writes the head of an error of Tidegate's own, in the distribution-spec's form; gives the body, which is still to be sent. */
export function writeErrorHead(exchange: Exchange, error: OciError): Buffer | undefined {
  const { req, res } = exchange;
  const body = Buffer.from(formatErrorBody(error.code, error.message, exchange.id, error.oauth));
  // After an ambiguous request, the rest of the connection cannot be trusted.
  if (!req.complete || ambiguous.has(error.code) || exchange.connection.isCostly())
    res.shouldKeepAlive = false;
  // The reason is given: after a failed writeHead Node would take the one that it refused there.
  res.writeHead(error.status, STATUS_CODES[error.status] ?? '', {
    'Docker-Distribution-Api-Version': 'registry/2.0',
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    'X-Content-Type-Options': 'nosniff',
    ...exchange.answerHeaders,
    ...error.headers,
  });
  return exchange.method === 'HEAD' ? undefined : body;
}

/**
 * Ends an answer of which all but `body` is written. When the request's body is still on its way, some more of it is read and thrown away, and then
 * the connection is left alone until the client, which has read `Connection: close`, closes it or the time is up:
 * closed at once, the kernel would send a reset that can take the answer with it before the client has read it
 * (RFC 9112 section 9.6). Nothing of it is kept, and where too many such bodies are being read, this one is left to the kernel at once.
 */
export function endAnswer(
  { req, res, connection }: Pick<Exchange, 'req' | 'res' | 'connection'>,
  refusedBodies: RefusedBodies,
  body?: Buffer,
): void {
  if (req.complete) {
    res.end(body);
    return;
  }
  if (body === undefined) res.flushHeaders();
  else res.write(body);
  const endReading = refusedBodies.begin();
  let bytesLeft = endReading === null ? 0 : refusedBodies.maxBytes;
  const leave = () => {
    endReading?.();
    connection.leaveBody();
  };
  const end = () => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, refusedBodies.timeoutMs);
  res.once('close', () => {
    clearTimeout(timer);
    endReading?.();
  });
  req.once('end', end);
  // What came with the last that is wanted is thrown away too: a request that is paused would keep it.
  req.on('data', (chunk: Buffer) => {
    bytesLeft -= chunk.length;
    freeMemory([chunk]);
    if (bytesLeft <= 0) leave();
  });
  req.resume();
  if (bytesLeft > 0) connection.readBody();
  else leave();
}
