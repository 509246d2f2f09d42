import { withoutOwnCookies } from '../http/cookies.ts';
import { headerPairs, headerValues, type RawHeaders } from '../http/raw-headers.ts';
import { hopByHop, namedByConnection } from './hop-by-hop.ts';

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
  /** Whether the client's cookies are forwarded. */
  readonly keepsCookies: boolean;
  /** Whether to hide that the body is a form. */
  readonly hidesForm: boolean;
  /** Upstream's own credentials, as an Authorization value. */
  readonly upstreamAuthorization: string | null;
};

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
  for (const [name, sent] of headerPairs(rawHeaders)) {
    const key = name.toLowerCase();
    const value = key === 'cookie' ? withoutOwnCookies(sent) : sent;
    if (key === 'transfer-encoding') framedByChunks = true;
    if (hopByHop.has(key) || dropped.has(key) || key === 'expect' || key === 'trailer' || name.includes('_'))
      continue;
    if (key === 'authorization' && !request.keepAuthorization) continue;
    if (key === 'cookie' && (value === '' || !request.keepsCookies)) continue;
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
