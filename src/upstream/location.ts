import { parseWebAddress, type WebAddress } from '../http/web-address.ts';

/**
 * What an absolute URL leads to. `here`: the front door or the registry behind it. `fixed`: the front door, by a name that the
 * registry was configured to give. `elsewhere`: anything else, such as object storage.
 */
export type Place = 'here' | 'fixed' | 'elsewhere';

/** The places that a Location may lead to, for one request. */
export type LocationNames = {
  /** Host as the client sent it, and null for none; with `origin` it tells apart those who are answered alike. */
  readonly host: string | null;
  /** Scheme and authority by which the client reaches the front door; null: it did not say, and a Location becomes relative. */
  readonly origin: string | null;
  findPlace(address: WebAddress, path: string): Place;
};

type LocationParts = {
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  readonly address: WebAddress | null;
  readonly rest: string;
};

const absoluteUrl = /^(?:(https?):)?\/\/([^/?#]*)(.*)/is;

/** Parses an absolute Location, or one without a scheme (RFC 3986 section 4.2); null for one relative to the request. */
function parseLocation(location: string): LocationParts | null {
  const [, schemeText = 'https', authority, rest = ''] = absoluteUrl.exec(location) ?? [];
  if (authority === undefined) return null;
  const scheme = schemeText.toLowerCase() === 'http' ? 'http' : 'https';
  return { scheme, authority, address: parseWebAddress(scheme, authority), rest };
}

function placeOf({ address, authority, rest }: LocationParts, names: LocationNames): Place {
  // A registry that was told no name writes https:///v2/…, which some clients read as a host named v2.
  if (authority === '') return 'here';
  return address === null ? 'elsewhere' : names.findPlace(address, rest.replace(/[?#].*/s, ''));
}

/**
 * Points a Location at the front door when it names the front door or the registry behind it, in whatever form. Path and query stay
 * byte for byte; what leads elsewhere stays as it is.
 * @param edit edits what follows the authority, or a relative reference, of a Location that leads here
 */
export function rewriteLocation(
  location: string,
  names: LocationNames,
  edit: (location: string) => string = (same) => same,
): string {
  const parts = parseLocation(location);
  if (parts === null) return edit(location);
  const { authority, rest } = parts;
  const place = placeOf(parts, names);
  if (place === 'elsewhere') return location;
  if (place === 'here' && names.origin === null) return edit(rest || '/');
  const ownOrigin = `https://${parts.scheme === 'http' ? authority.replace(/:80$/, '') : authority}`;
  const origin = place === 'here' && names.origin !== null ? names.origin : ownOrigin;
  return `${origin}${rest.startsWith('/') ? edit(rest) : rest}`;
}

/** Names the place elsewhere that a Location leads to; null for one that leads here. */
export function findForeignPlace(location: string, names: LocationNames): string | null {
  const parts = parseLocation(location);
  return parts === null || placeOf(parts, names) !== 'elsewhere' ? null : parts.authority;
}
