import type { IncomingMessage } from 'node:http';
import { OciError } from '../registry/error.ts';
import { headerValues } from '../http/raw-headers.ts';
import type { Operation } from '../registry/operation.ts';
import { hostPattern } from '../http/web-address.ts';

/** Less than a petabyte. Node's parser accepts lengths that overflow 63 bits in other parsers. */
const lengthPattern = /^[0-9]{1,15}$/;

const forwardedMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]);
/** Methods for which a body has no defined meaning (RFC 9110 section 9.3). */
const bodilessMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/**
 * Refuses a request whose end, or whose host, two parsers could read differently (RFC 9112 section 11.2).
 * @throws OciError BAD_REQUEST or LENGTH_REQUIRED; close the connection after it.
 */
export function checkFraming(req: IncomingMessage, operation: Operation): void {
  // Node's parser also accepts 0.9 and 2.0.
  if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0') {
    throw new OciError('BAD_REQUEST', 'Only HTTP/1.1 and HTTP/1.0 are supported.');
  }
  const hosts = headerValues(req.rawHeaders, 'host');
  if (hosts.length > 1) throw new OciError('BAD_REQUEST', 'The request has more than one Host header.');
  if (hosts[0] === undefined && req.httpVersion !== '1.0') {
    throw new OciError('BAD_REQUEST', 'The request has no Host header.');
  }
  // Load balancers' checks send it empty (RFC 9112 section 3.2). Other answers may hold a URL with it.
  const needsName = operation.kind !== 'version-check' && operation.kind !== 'open';
  if (hosts[0] !== undefined && (hosts[0] !== '' || needsName) && !hostPattern.test(hosts[0])) {
    throw new OciError('BAD_REQUEST', 'The Host header is not a host name with an optional port.');
  }
  const codings = headerValues(req.rawHeaders, 'transfer-encoding');
  const lengths = headerValues(req.rawHeaders, 'content-length');
  if (lengths.length > 1 || (lengths.length === 1 && codings.length > 0)) {
    throw new OciError('BAD_REQUEST', 'The request states the length of its body twice.');
  }
  if (lengths[0] !== undefined && !lengthPattern.test(lengths[0])) {
    throw new OciError('BAD_REQUEST', 'The Content-Length is not valid.');
  }
  if (codings.length > 0) {
    if (codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked' || req.httpVersion !== '1.1') {
      throw new OciError('BAD_REQUEST', 'The only supported Transfer-Encoding is "chunked", over HTTP/1.1.');
    }
    if (bodilessMethods.has(req.method ?? '')) {
      throw new OciError('LENGTH_REQUIRED', `A ${req.method ?? ''} request cannot have a chunked body here.`);
    }
  }
  if ((req.method === 'GET' || req.method === 'HEAD') && Number(lengths[0] ?? 0) > 0) {
    throw new OciError('BAD_REQUEST', `A ${req.method} request cannot have a body here.`);
  }
}

/** Whether a request's head announces a body. */
export function announcesBody({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>): boolean {
  return (
    headerValues(rawHeaders, 'transfer-encoding').length > 0 ||
    Number(headerValues(rawHeaders, 'content-length')[0] ?? 0) > 0
  );
}

/** @throws OciError UNSUPPORTED for a method that no registry knows. */
export function checkMethod(method: string): void {
  if (forwardedMethods.has(method)) return;
  throw new OciError('UNSUPPORTED', `The method ${method} is not supported.`, {
    headers: { Allow: [...forwardedMethods].join(', ') },
  });
}
