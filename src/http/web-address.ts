/** RFC 9110 section 7.2 and RFC 3986 section 3.2.2: a registered name, an IPv4 address or a bracketed IPv6 address, and a port. */
export const hostPattern = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?$/;

export type WebScheme = 'http' | 'https';

/** A host and port on the web. Texts that differ only in case, default port or trailing dot name the same one. */
export type WebAddress = {
  /** In canonical form (WHATWG URL, section 3.5), without a trailing dot. */
  readonly host: string;
  readonly port: number;
  /** Whether the port is the scheme's default. */
  readonly isDefaultPort: boolean;
};

const defaultPorts: Readonly<Record<WebScheme, number>> = { http: 80, https: 443 };

/** Parses a host with an optional port; null for anything else, such as one with user information. */
export function parseWebAddress(scheme: WebScheme, authority: string): WebAddress | null {
  const [, host, portText] = hostPattern.exec(authority) ?? [];
  if (host === undefined) return null;
  const port = portText === undefined ? defaultPorts[scheme] : Number(portText);
  return { host: canonicalHost(host), port, isDefaultPort: port === defaultPorts[scheme] };
}

/** Canonicalizes a host name or address; an IPv6 address has brackets. */
export function canonicalHost(host: string): string {
  try {
    return new URL(`http://${host}/`).hostname.replace(/\.$/, '');
  } catch {
    return host.toLowerCase().replace(/\.$/, '');
  }
}

/**
 * Whether both are the same place. The scheme does not matter: a registry behind TLS assumes http, and names its http
 * port if it names one.
 */
export function isSameAddress(one: WebAddress, other: WebAddress): boolean {
  return one.host === other.host && (one.port === other.port || (one.isDefaultPort && other.isDefaultPort));
}
