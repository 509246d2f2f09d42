import { parseWebAddress, type WebAddress } from '../http/web-address.ts';

/**
 * The target of an absolute URL. `here`: Tidegate or the registry behind it. `fixed`: Tidegate, by a name that the
 * registry was configured to give. `elsewhere`: anything else, such as object storage.
 */
export type Place = 'here' | 'fixed' | 'elsewhere';

/** The targets that a Location may have, for one request. */
export type LocationNames = {
  /** Host as the client sent it, null for none; together with `origin` it is the key of equal edits. */
  readonly host: string | null;
  /** Scheme and authority that the client uses; null: unknown, so a Location becomes relative. */
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
  // A registry that got no host writes https:///v2/…, which some clients read as a host named v2.
  if (authority === '') return 'here';
  return address === null ? 'elsewhere' : names.findPlace(address, rest.replace(/[?#].*/s, ''));
}

/**
 * Points a Location here when it names Tidegate or the registry behind it, in any form. Path and query stay byte for
 * byte; a Location elsewhere stays as it is.
 * @param edit edits what follows the authority, or a relative reference, of a Location that points here
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

/** Finds the foreign origin that a Location points to; null for one that points here. */
export function findForeignPlace(location: string, names: LocationNames): string | null {
  const parts = parseLocation(location);
  return parts === null || placeOf(parts, names) !== 'elsewhere' ? null : parts.authority;
}
