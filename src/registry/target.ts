import { OciError } from './error.ts';

/** A request target that passed every rule of {@link parseTarget}: upstream reads the same resource from the same bytes. */
export type CanonicalTarget = {
  /** The target exactly as the client sent it: what is forwarded. */
  readonly raw: string;
  /** The path exactly as the client sent it, without the query. */
  readonly rawPath: string;
  /** The percent-decoded path, which the policy uses. */
  readonly path: string;
};

/**
 * RFC 3986 section 3.3: pchar and "/"; "%" is checked separately. Everything else (space, control, `\`, `"`, 8-bit, …)
 * is refused.
 */
const pathCharacters = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*$/;
/** The query is forwarded unchanged. Only what cannot stand in a request line, or ends the target, is refused. */
const queryCharacters = /^[\x21\x22\x24-\x7e\x80-\xff]*$/;
const badPercent = /%(?![0-9A-Fa-f]{2})/;
/** An encoded "/", "\" or control byte: a separator to one parser, part of a name to another. */
const encodedSeparatorOrControl = /%(?:2f|5c|[01][0-9a-f]|7f)/i;
/** "%252e" is "%2e" after one decoding and "." after two. */
const doubleEncoding = /%25[0-9a-f]{2}/i;
/** RFC 3986 section 5.2.4, and the same with path parameters ("..;x"), which some servers strip before they resolve. */
const dotSegment = /(?:^|\/)\.{1,2}(?:;[^/]*)?(?:\/|$)/;

/**
 * Parses a raw request target (RFC 9112 section 3.2), or refuses it. Only the origin-form is accepted, and only where
 * no two readers can disagree on the resource.
 * @throws OciError BAD_REQUEST that says which rule was broken.
 */
export function parseTarget(raw: string): CanonicalTarget {
  if (!raw.startsWith('/')) refuse('it must start with "/" (no absolute URL, no "*")');
  if (raw.includes('#')) refuse('it has a fragment ("#")');
  const queryStart = raw.indexOf('?');
  const rawPath = queryStart === -1 ? raw : raw.slice(0, queryStart);
  if (!pathCharacters.test(rawPath)) refuse('its path has a character that must be percent-encoded');
  if (queryStart !== -1 && !queryCharacters.test(raw.slice(queryStart + 1)))
    refuse('its query has a control character');
  if (badPercent.test(rawPath)) refuse('its path has a "%" that two hexadecimal digits do not follow');
  if (encodedSeparatorOrControl.test(rawPath))
    refuse('its path has an encoded slash, backslash or control character');
  if (doubleEncoding.test(rawPath)) refuse('its path is percent-encoded twice');
  if (rawPath.includes('//')) refuse('its path has an empty segment ("//")');
  const path = decode(rawPath);
  if (dotSegment.test(path)) refuse('its path has a "." or ".." segment');
  return { raw, rawPath, path };
}

function decode(rawPath: string): string {
  if (!rawPath.includes('%')) return rawPath;
  try {
    return decodeURIComponent(rawPath);
  } catch {
    return refuse('its percent-encoding is not UTF-8');
  }
}

function refuse(rule: string): never {
  throw new OciError('BAD_REQUEST', `The request target was refused: ${rule}.`);
}
