import { parseForwarded } from './forwarded.ts';
import { headerValues, type RawHeaders } from './raw-headers.ts';
import { hostPattern, parseWebAddress, type WebScheme } from './web-address.ts';

/** The public name that a client uses for Tidegate. */
export type PublicName = {
  readonly scheme: WebScheme;
  /** Host, and port unless it is the scheme's default; null: the client sent none. */
  readonly authority: string | null;
  /** Whether a trusted proxy reported it, besides Host. */
  readonly isTold: boolean;
};

/** Finds the name in a request that came without a trusted proxy. */
export function nameByHost(host: string | null): PublicName {
  return { scheme: 'https', authority: host, isTold: false };
}

/**
 * Finds the name in a request from a trusted proxy: what the proxy reports, or Host if that is unreadable. Of several
 * values the first counts, which the proxy nearest to the client wrote. `Forwarded` precedes the fields that it
 * replaces, as in registries.
 */
export function nameByProxy(rawHeaders: RawHeaders, host: string | null): PublicName {
  const first = (field: string, pattern: RegExp): string | null => {
    const [value = ''] = headerValues(rawHeaders, field).join(',').split(',', 1);
    return accept(value.trim(), pattern);
  };
  const forwarded = parseForwarded(headerValues(rawHeaders, 'forwarded').join(','));
  const proto = accept(forwarded?.proto, schemePattern) ?? first('x-forwarded-proto', schemePattern);
  const scheme: WebScheme = proto?.toLowerCase() === 'http' ? 'http' : 'https';
  const told = accept(forwarded?.host, hostPattern) ?? first('x-forwarded-host', hostPattern);
  const name = told ?? host;
  const port = readPort(first('x-forwarded-port', /^[0-9]{1,5}$/));
  const isBare = name !== null && hostPattern.exec(name)?.[2] === undefined;
  const needsPort = isBare && port !== null && !parseWebAddress(scheme, `x:${port}`)?.isDefaultPort;
  return { scheme, authority: needsPort ? `${name}:${port}` : name, isTold: told !== null };
}

const schemePattern = /^https?$/i;

/**
 * Whether a trusted proxy's `Forwarded` may be forwarded to upstream, which might read a name in it that Tidegate could
 * not parse.
 */
export function hasReadableForwarded(rawHeaders: RawHeaders): boolean {
  const forwarded = parseForwarded(headerValues(rawHeaders, 'forwarded').join(','));
  if (forwarded === null) return false;
  const { host, proto } = forwarded;
  return (host === null || hostPattern.test(host)) && (proto === null || schemePattern.test(proto));
}

function accept(value: string | null | undefined, pattern: RegExp): string | null {
  return value !== null && value !== undefined && pattern.test(value) ? value : null;
}

function readPort(text: string | null): number | null {
  const port = Number(text ?? 0);
  return port >= 1 && port <= 65_535 ? port : null;
}
