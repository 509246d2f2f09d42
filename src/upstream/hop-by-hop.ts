import { headerPairs, headerValues, type RawHeaders } from '../http/raw-headers.ts';

/** Hop-by-hop fields: RFC 9110 section 7.6.1, and the older ones of RFC 2616 section 13.5.1. */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Fields that a Connection header cannot remove: without them the message would have another meaning. */
const endToEndAlways: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'authorization',
  'content-type',
  'cookie',
]);

/** The fields that a Connection header names, in lower case: they end here, too. */
export function namedByConnection(rawHeaders: RawHeaders): Set<string> {
  const named = new Set<string>();
  for (const [name, value] of headerPairs(rawHeaders)) {
    if (name.toLowerCase() !== 'connection') continue;
    for (const option of value.split(',')) {
      const key = option.trim().toLowerCase();
      if (!endToEndAlways.has(key)) named.add(key);
    }
  }
  return named;
}

/** Whether a message has a framing other than "chunked" (RFC 9112 section 6.1), which Tidegate cannot decode. */
export function hasForeignCoding(rawHeaders: RawHeaders): boolean {
  return headerValues(rawHeaders, 'transfer-encoding').some((coding) => coding.toLowerCase() !== 'chunked');
}
