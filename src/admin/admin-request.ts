import { isIP } from 'node:net';
import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import { normalizeAddress } from '../http/client-address.ts';

/** RFC 9110 section 7.2: a name or an address, and a port, which may be that of a port mapping. */
const hostPattern = /^(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?$/;

/** The parts of a request that decide whether it is answered. */
export type AdminRequest = {
  readonly rawHeaders: RawHeaders;
  readonly socket: { readonly localAddress?: string | undefined };
};

/** The names that requests to the admin listener may use. */
export type AdminNames = {
  /** The configured address or name. */
  readonly host: string;
  readonly names: readonly string[];
};

/**
 * Says why a request to the admin listener must not be answered; null when it may. There is no password, so web pages
 * must be kept out. A page can reach loopback under its own name that resolves to it (DNS rebinding), and can send
 * requests with an Origin to any address.
 */
export function findAdminRefusal(
  { rawHeaders, socket }: AdminRequest,
  { host, names }: AdminNames,
): string | null {
  if (headerValues(rawHeaders, 'origin').length > 0) return 'Requests of web pages are not answered here.';
  const [site] = headerValues(rawHeaders, 'sec-fetch-site');
  if (site !== undefined && site !== 'none' && site !== 'same-origin')
    return 'Requests of web pages are not answered here.';
  const hosts = headerValues(rawHeaders, 'host');
  const [, name, bracketed] = hostPattern.exec(hosts.length === 1 ? (hosts[0] ?? '') : '') ?? [];
  const asked = (name ?? bracketed ?? '').toLowerCase();
  const isNamed = ['localhost', host, ...names].some((known) => known.toLowerCase() === asked);
  if (isNamed && asked !== '') return null;
  // When listening on all addresses, accepts the one that the client reached; an address cannot be made to mean another
  // machine.
  const isWildcard = host === '::' || host === '0.0.0.0';
  if (isIP(asked) > 0 && (isWildcard || asked === normalizeAddress(socket.localAddress ?? ''))) return null;
  return 'This Host is not the address of the admin listener: use that, localhost, or a name in admin.names.';
}
