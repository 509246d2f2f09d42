import { headerValues, type RawHeaders } from './raw-headers.ts';

/** How the names of Tidegate's own cookies begin; browsers keep such cookies only over https, for this host alone. */
const ownPrefix = '__Host-tidegate';

/** Where the session of a visitor of the console is. */
export const sessionCookie = ownPrefix;

/** No other kind of space: with one in front of its name, browsers let any host of the same domain set such a cookie. */
const spaceBefore = /^[ \t]+/;

/** The value of a cookie (RFC 6265 section 4.2); null: there is none, or it was sent twice. */
export function readCookie(rawHeaders: RawHeaders, name: string): string | null {
  const values = headerValues(rawHeaders, 'cookie')
    .flatMap((field) => field.split(';'))
    .map((pair) => pair.replace(spaceBefore, ''))
    .filter((pair) => pair.startsWith(`${name}=`));
  return values.length === 1 ? (values[0]?.slice(name.length + 1) ?? null) : null;
}

/** A Cookie field without Tidegate's own cookies; empty: there were no others. */
export function withoutOwnCookies(field: string): string {
  if (!field.includes(ownPrefix)) return field;
  return field
    .split(';')
    .filter((pair) => !pair.trimStart().startsWith(ownPrefix))
    .join(';')
    .trimStart();
}
