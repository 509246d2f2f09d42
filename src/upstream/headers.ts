import type { OutgoingMessage } from 'node:http';
import { headerPairs, headerValues, type RawHeaders } from '../http/raw-headers.ts';
import { rewriteLocation, type LocationNames } from './location.ts';

/** What Tidegate tells upstream about the request, in place of the client's claims. */
export type ForwardedRequest = {
  /** The scheme that the client uses. */
  readonly publicScheme: 'http' | 'https';
  /** The host that it uses: Host as the client sent it, port included, or what a trusted proxy says; null for none. */
  readonly publicAuthority: string | null;
  /** The address of the TCP peer. */
  readonly peerAddress: string;
  /** The address of the client, which is the peer unless the peer is a trusted proxy. */
  readonly clientAddress: string;
  /** Whether the peer's own X-Forwarded-* and Forwarded are kept. */
  readonly peerIsTrusted: boolean;
  /** Whether its Forwarded is kept: upstream might read names in it that Tidegate could not parse. */
  readonly keepsForwarded: boolean;
  /** For X-Request-Id. */
  readonly requestId: string;
  /** W3C Trace Context. */
  readonly traceparent: string;
  /** Null for none. */
  readonly tracestate: string | null;
  /** Whether the client's Authorization is forwarded (a v1 token is, Basic never). */
  readonly keepAuthorization: boolean;
  /** Whether to hide that the body is a form. */
  readonly hidesForm: boolean;
  /** Upstream's own credentials, as an Authorization value. */
  readonly upstreamAuthorization: string | null;
};

/** Hop-by-hop fields: RFC 9110 section 7.6.1, and the older ones of RFC 2616 section 13.5.1. */
const hopByHop: ReadonlySet<string> = new Set([
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

/** Fields that Tidegate replaces with its own. */
const alwaysSetAnew: ReadonlySet<string> = new Set([
  'x-real-ip',
  'x-request-id',
  'traceparent',
  'tracestate',
]);

/** Media types whose body Go's http.Request.FormValue reads before the query. */
const formType = /form-urlencoded|multipart/i;

/** Whether a body is labelled as a form, whose fields upstream could read in place of the query's. */
export function hasFormType(rawHeaders: RawHeaders): boolean {
  return headerValues(rawHeaders, 'content-type').some((type) => formType.test(type));
}

/**
 * Builds the request headers for upstream: the client's own, with case, order and repetition, less hop-by-hop fields,
 * and with a new X-Forwarded-* family. A name with "_" is dropped: to a CGI or WSGI upstream `X_Real_IP` and
 * `X-Real-IP` are one variable.
 */
export function buildUpstreamHeaders(
  rawHeaders: RawHeaders,
  request: ForwardedRequest,
): Record<string, string | string[]> {
  const dropped = namedByConnection(rawHeaders);
  const values = new Map<string, { readonly name: string; readonly values: string[] }>();
  let framedByChunks = false;
  for (const [name, value] of headerPairs(rawHeaders)) {
    const key = name.toLowerCase();
    if (key === 'transfer-encoding') framedByChunks = true;
    if (hopByHop.has(key) || dropped.has(key) || key === 'expect' || key === 'trailer' || name.includes('_'))
      continue;
    if (key === 'authorization' && !request.keepAuthorization) continue;
    if (key === 'content-type' && request.hidesForm && formType.test(value)) continue;
    if (alwaysSetAnew.has(key)) continue;
    if (key.startsWith('x-forwarded-') && !request.peerIsTrusted) continue;
    if (key === 'forwarded' && !(request.peerIsTrusted && request.keepsForwarded)) continue;
    // Without a host in the request, upstream's own is sent (RFC 9112 section 3.2).
    if (key === 'host' && value === '') continue;
    const field = values.get(key);
    if (field) field.values.push(value);
    else values.set(key, { name, values: [value] });
  }
  const set = (name: string, value: string) => values.set(name.toLowerCase(), { name, values: [value] });
  const proxies = request.peerIsTrusted ? (values.get('x-forwarded-for')?.values ?? []) : [];
  set('X-Forwarded-For', [...proxies, request.peerAddress].join(', '));
  set('X-Forwarded-Proto', request.publicScheme);
  // X-Forwarded-Host carries it, where upstream cannot misread it.
  values.delete('x-forwarded-port');
  if (request.publicAuthority === null) values.delete('x-forwarded-host');
  else set('X-Forwarded-Host', request.publicAuthority);
  set('X-Real-IP', request.clientAddress);
  set('X-Request-Id', request.requestId);
  set('traceparent', request.traceparent);
  if (request.tracestate !== null) set('tracestate', request.tracestate);
  if (request.upstreamAuthorization !== null) set('Authorization', request.upstreamAuthorization);
  if (framedByChunks) set('Transfer-Encoding', 'chunked');
  const headers: Record<string, string | string[]> = {};
  for (const {
    name,
    values: [first = '', ...others],
  } of values.values())
    headers[name] = others.length === 0 ? first : [first, ...others];
  return headers;
}

/** Whether a message has a framing other than "chunked" (RFC 9112 section 6.1), which Tidegate cannot decode. */
export function hasForeignCoding(rawHeaders: RawHeaders): boolean {
  return headerValues(rawHeaders, 'transfer-encoding').some((coding) => coding.toLowerCase() !== 'chunked');
}

/** Changes to a response of upstream. */
export type ResponseEdits = {
  /** Fields that replace upstream's own of the same name (Vary is added, not replaced). */
  readonly set: Readonly<Record<string, string>>;
  /** Only a chunked answer can have trailers; Node refuses to announce them for any other. */
  readonly mayHaveTrailers: boolean;
  readonly names: LocationNames;
  /** Whether Tidegate decides on other origins: upstream's own Access-Control fields are removed. */
  readonly ownsCors: boolean;
  /** Edits a Location that points here, without scheme and authority; left out: it stays as it is. */
  readonly editLocation?: ((location: string) => string) | undefined;
};

/**
 * Builds the response headers for the client: upstream's own, byte for byte, less hop-by-hop fields; Location points
 * here.
 */
export function buildClientHeaders(rawHeaders: RawHeaders, edits: ResponseEdits): string[] {
  const dropped = namedByConnection(rawHeaders);
  for (const name of Object.keys(edits.set)) if (name !== 'Vary') dropped.add(name.toLowerCase());
  if (!edits.mayHaveTrailers) dropped.add('trailer');
  const headers: string[] = [];
  for (const [name, value] of headerPairs(rawHeaders)) {
    const key = name.toLowerCase();
    if (hopByHop.has(key) || dropped.has(key)) continue;
    if (edits.ownsCors && key.startsWith('access-control-')) continue;
    headers.push(name, key === 'location' ? rewriteLocation(value, edits.names, edits.editLocation) : value);
  }
  for (const [name, value] of Object.entries(edits.set)) headers.push(name, value);
  return headers;
}

function namedByConnection(rawHeaders: RawHeaders): Set<string> {
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

/** Sends a head without its body. Node's flushHeaders would encode it as UTF-8, which changes bytes above ASCII. */
export function sendHead(message: OutgoingMessage): void {
  message.write('', 'latin1');
}
