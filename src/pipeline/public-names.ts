import { isRegistryPath, parseUploadSession } from '../registry/operation.ts';
import { canonicalHost, isSameAddress, parseWebAddress } from '../http/web-address.ts';
import type { LocationNames } from '../upstream/location.ts';
import type { Exchange } from './exchange.ts';

/** Knows all public names of Tidegate. */
export type PublicNames = {
  /** The targets that a Location in the answer to this request may have. */
  readonly locationNames: (exchange: Pick<Exchange, 'host' | 'publicName'>) => LocationNames;
};

/**
 * @param certificateNames the host names and addresses in the server's certificate. In the Location of an upload, any of them
 * stands for Tidegate. In that of another path, a wildcard does not, since it matches other hosts too. Nor does a name with a
 * port that is neither the scheme's default, nor listened on, nor in the request: another server may use it.
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
          (hosts.has(address.host) && isOurPort && isRegistryPath(path));
        if (!isOurs) return 'elsewhere';
        // A Host that is not in the certificate is hardly the client's: a proxy without forwarded fields has set it.
        return isTold || (named !== null && isCertified(named.host)) ? 'here' : 'fixed';
      },
    }),
  };
}
