import { parseUploadSession } from '../oci/access.ts';
import { parseForwarded } from '../oci/forwarded.ts';
import { headerValues, type RawHeaders } from '../oci/raw-headers.ts';
import {
  canonicalHost,
  hostPattern,
  isSameAddress,
  parseWebAddress,
  type WebScheme,
} from '../oci/web-address.ts';
import type { LocationNames } from '../proxy/location.ts';
import type { Exchange } from './exchange.ts';

/** The name by which a client reaches the front door. */
export type PublicName = {
  readonly scheme: WebScheme;
  /** Host and, where it is not the scheme's own, port; null: the client said none. */
  readonly authority: string | null;
  /** Whether a trusted proxy has said it, besides Host. */
  readonly isTold: boolean;
};

/** The name in a request that no trusted proxy has brought. */
export function nameByHost(host: string | null): PublicName {
  return { scheme: 'https', authority: host, isTold: false };
}

/**
 * The name in a request from a trusted proxy: what the proxy says, and Host where it says nothing that can be read. Of several values
 * the first counts: the proxy that the client talked to wrote it. `Forwarded` counts before the fields that it has replaced,
 * as registries read them.
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

/** Whether a trusted proxy's `Forwarded` may go on to upstream, which would take a name out of it that nobody here has understood. */
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

/** Knows all names of the front door. */
export type PublicNames = {
  /** What a Location in the answer to this request may lead to. */
  readonly locationNames: (exchange: Pick<Exchange, 'host' | 'publicName'>) => LocationNames;
};

const registryPath = /^\/v[12]\//;

/**
 * @param certificateNames the host names and addresses in the server's certificate. In a Location, any of them counts where an upload
 * goes on. For other paths of a registry a wildcard does not, which means other hosts too, nor does a port that is neither the scheme's own
 * nor listened on nor in the request: beside the front door, other things have that host.
 */
export function createPublicNames({
  certificateNames,
  listenPort,
  upstreamUrl,
}: {
  readonly certificateNames: readonly string[];
  readonly listenPort: number;
  readonly upstreamUrl: URL;
}): PublicNames {
  const upstream = parseWebAddress(upstreamUrl.protocol === 'https:' ? 'https' : 'http', upstreamUrl.host);
  const wildcards = new Set(
    certificateNames.filter((name) => name.startsWith('*.')).map((name) => name.slice(1)),
  );
  const hosts = new Set(
    certificateNames
      .filter((name) => !name.startsWith('*.'))
      .map((name) => canonicalHost(name.includes(':') ? `[${name}]` : name)),
  );
  // A wildcard stands for one label (RFC 9525 section 6.3).
  const isCertified = (host: string) => hosts.has(host) || wildcards.has(host.replace(/^[^.]*/, ''));

  return {
    locationNames: ({ host, publicName: { scheme, authority, isTold } }) => ({
      host,
      origin: authority === null ? null : `${scheme}://${authority}`,
      findPlace: (address, path) => {
        const named = host === null ? null : parseWebAddress('https', host);
        const reached = authority === null ? null : parseWebAddress(scheme, authority);
        const known = [named, reached].filter((each) => each !== null);
        const isKnown = [...known, ...(upstream === null ? [] : [upstream])].some((each) =>
          isSameAddress(each, address),
        );
        if (isKnown) return 'here';
        const isOurPort =
          address.isDefaultPort || [listenPort, ...known.map(({ port }) => port)].includes(address.port);
        const isOurs =
          (isCertified(address.host) && parseUploadSession(path) !== null) ||
          (hosts.has(address.host) && isOurPort && registryPath.test(path));
        if (!isOurs) return 'elsewhere';
        // A Host that the certificate does not have is hardly the client's: a proxy that says nothing else has put it there.
        return isTold || (named !== null && isCertified(named.host)) ? 'here' : 'fixed';
      },
    }),
  };
}
