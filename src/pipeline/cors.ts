import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import { endAnswer } from './error-response.ts';
import type { Exchange } from './exchange.ts';
import type { RefusedBodies } from './refused-bodies.ts';

/** Lets pages of other origins read answers (Fetch standard, "CORS protocol"). */
export type Cors = {
  /** Returns the fields for every answer to such a request. */
  fieldsFor(rawHeaders: RawHeaders): Record<string, string>;
  /** Returns the further fields for the answer to a preflight of a listed origin; null for any other request. */
  preflightFields(exchange: Pick<Exchange, 'method' | 'req'>): Record<string, string> | null;
};

/** How long a browser may remember the answer to a preflight, in seconds. */
const maxAgeSeconds = 600;

/** What registry clients send. For requests with credentials, "*" would not stand for them. */
const requestHeaders = [
  ...['Accept', 'Authorization', 'Cache-Control', 'Content-Range', 'Content-Type', 'Docker-Content-Digest'],
  ...['If-Match', 'If-Modified-Since', 'If-None-Match', 'Range', 'X-Request-Id', 'X-Requested-With'],
].join(', ');

/** The fields that pages may read besides those that they always may. */
const responseHeaders = [
  ...['Content-Length', 'Content-Range', 'Docker-Content-Digest', 'Docker-Distribution-Api-Version'],
  ...['Docker-Upload-UUID', 'ETag', 'Link', 'Location', 'OCI-Chunk-Min-Length', 'OCI-Filters-Applied'],
  ...['OCI-Subject', 'Range', 'Retry-After', 'WWW-Authenticate', 'X-Cache'],
].join(', ');

/**
 * Returns null without origins.
 * @param origins as checked by the configuration
 */
export function createCors(origins: readonly string[]): Cors | null {
  if (origins.length === 0) return null;
  const listed = new Set(origins.map((origin) => new URL(origin).origin));
  const listedOrigin = (rawHeaders: RawHeaders): string | null => {
    const [origin, ...others] = headerValues(rawHeaders, 'origin');
    return origin !== undefined && others.length === 0 && listed.has(origin) ? origin : null;
  };
  return {
    fieldsFor: (rawHeaders) => {
      const origin = listedOrigin(rawHeaders);
      if (origin === null) return { Vary: 'Origin' };
      return {
        Vary: 'Origin',
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Credentials': 'true',
        'Access-Control-Expose-Headers': responseHeaders,
      };
    },
    preflightFields: ({ method, req: { rawHeaders } }) => {
      if (method !== 'OPTIONS' || listedOrigin(rawHeaders) === null) return null;
      if (headerValues(rawHeaders, 'access-control-request-method').length === 0) return null;
      return {
        'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
        'Access-Control-Allow-Headers': requestHeaders,
        'Access-Control-Max-Age': String(maxAgeSeconds),
      };
    },
  };
}

/**
 * Answers a preflight: a browser asks, without credentials, whether a page may send a request. Returns false for any
 * other request.
 */
export function answerPreflight(exchange: Exchange, cors: Cors, refusedBodies: RefusedBodies): boolean {
  const fields = cors.preflightFields(exchange);
  if (fields === null) return false;
  exchange.reason = 'preflight';
  exchange.res.writeHead(204, { ...exchange.answerHeaders, ...fields });
  endAnswer(exchange, refusedBodies);
  return true;
}
