import type { Exchange } from '../exchange.ts';
import { continueTrace } from '../../http/trace-context.ts';

/** Every kind of manifest: without it, a registry may return another manifest's digest for a tag, or none. */
export const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  '*/*',
].join(', ');

/**
 * The header fields of Tidegate's own requests to upstream because of a request.
 * @param authorization an Authorization value; null for none
 */
export function buildInternalHeaders(
  { host, id, trace }: Exchange,
  authorization: string | null,
): Record<string, string> {
  const { requestId, traceparent, tracestate } = continueTrace(id, trace);
  const headers: Record<string, string> = {};
  if (host !== null) {
    headers['Host'] = host;
    headers['X-Forwarded-Host'] = host;
  }
  headers['X-Forwarded-Proto'] = 'https';
  headers['X-Request-Id'] = requestId;
  headers['traceparent'] = traceparent;
  if (tracestate !== null) headers['tracestate'] = tracestate;
  headers['User-Agent'] = 'tidegate';
  headers['Accept'] = manifestTypes;
  if (authorization !== null) headers['Authorization'] = authorization;
  return headers;
}
