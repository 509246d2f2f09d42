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
  return {
    ...(host === null ? {} : { Host: host, 'X-Forwarded-Host': host }),
    'X-Forwarded-Proto': 'https',
    'X-Request-Id': requestId,
    traceparent,
    ...(tracestate === null ? {} : { tracestate }),
    'User-Agent': 'tidegate',
    Accept: manifestTypes,
    ...(authorization === null ? {} : { Authorization: authorization }),
  };
}
