import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { formatErrorBody, OciError, type OciErrorCode } from '../oci/error.ts';
import type { Exchange } from './exchange.ts';

export type RefusedBodyLimits = {
  /** How much of a body is still read after the answer to it has been given, in bytes. */
  readonly maxBytes: number;
  /** For how long, in milliseconds. */
  readonly timeoutMs: number;
};

const ambiguous: ReadonlySet<OciErrorCode> = new Set(['BAD_REQUEST', 'LENGTH_REQUIRED']);

/** Another front door may be there by then, or this one again. */
const retryAfterDrainSeconds = 10;

/** The 503 for a request that comes after the end has begun. */
export function draining(): OciError {
  return new OciError('UNAVAILABLE', 'Tidegate is shutting down; try again in a moment.', {
    headers: { 'Retry-After': String(retryAfterDrainSeconds) },
  });
}

/** Writes the head of an error of Tidegate's own, in the distribution-spec's form; gives the body, which is still to be sent. */
export function writeErrorHead(exchange: Exchange, error: OciError): Buffer | undefined {
  const { req, res } = exchange;
  const body = Buffer.from(formatErrorBody(error.code, error.message, exchange.id, error.oauth));
  // After a request that could be read in two ways, what follows on the connection is not to be believed.
  if (!req.complete || ambiguous.has(error.code)) res.shouldKeepAlive = false;
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
 * (RFC 9112 section 9.6).
 */
export function endAnswer(
  req: IncomingMessage,
  res: ServerResponse,
  { maxBytes, timeoutMs }: RefusedBodyLimits,
  body?: Buffer,
): void {
  if (req.complete) {
    res.end(body);
    return;
  }
  if (body === undefined) res.flushHeaders();
  else res.write(body);
  let bytesLeft = maxBytes;
  const end = () => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, timeoutMs);
  res.once('close', () => clearTimeout(timer));
  req.once('end', end);
  req.on('data', (chunk: Buffer) => {
    bytesLeft -= chunk.length;
    if (bytesLeft <= 0) req.pause(); // Node stops reading the socket once its own buffer is full
  });
  req.resume();
}
