/** An Authorization value, parsed as Basic credentials. */
export type BasicCredentials =
  | { readonly kind: 'credentials'; readonly name: string; readonly password: string }
  /** Neither name nor password: clients built on containers/image send that without a login. */
  | { readonly kind: 'nobody' }
  | { readonly kind: 'other-scheme' }
  | { readonly kind: 'malformed' };

/**
 * The longest password that is checked, in bytes. SHA-crypt's work grows with the square of the length, so otherwise
 * anybody could choose how long a check takes.
 */
const maxPasswordBytes = 1024;

const basicScheme = /^basic(?: |$)/i;
const base64 = /^basic +([A-Za-z0-9+/]+)={0,2}$/i;
const controlCharacter = /\p{Cc}/u;
// ignoreBOM keeps a leading BOM as part of the name: names that differ in bytes must stay different.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const malformed = { kind: 'malformed' } as const;

/**
 * Reads one Authorization value as Basic credentials (RFC 7617 with charset UTF-8); never throws.
 * Base64 must be canonical (padding may be missing), the text UTF-8 without control characters; the name ends at the first colon.
 */
export function parseBasicCredentials(value: string, maxBytes = maxPasswordBytes): BasicCredentials {
  if (!basicScheme.test(value)) return { kind: 'other-scheme' };
  const encoded = base64.exec(value)?.[1];
  if (encoded === undefined || !hasRightPadding(value, encoded)) return malformed;
  const bytes = Buffer.from(encoded, 'base64');
  // Node ignores stray bits after the last whole byte; encoding again detects them (RFC 4648 section 3.5).
  if (bytes.toString('base64').replace(/={1,2}$/, '') !== encoded) return malformed;
  const text = decodeUtf8(bytes);
  if (text === undefined || controlCharacter.test(text)) return malformed;
  const colon = text.indexOf(':');
  if (colon === -1) return malformed;
  const password = text.slice(colon + 1);
  if (Buffer.byteLength(password) > maxBytes) return malformed;
  if (text === ':') return { kind: 'nobody' };
  return { kind: 'credentials', name: text.slice(0, colon), password };
}

/** Whether a request has no credentials. */
export function hasNoCredentials(values: readonly string[]): boolean {
  const [value, ...others] = values;
  return value === undefined || (others.length === 0 && parseBasicCredentials(value).kind === 'nobody');
}

function hasRightPadding(value: string, encoded: string): boolean {
  const padding = value.length - value.lastIndexOf(encoded) - encoded.length;
  return padding === 0 || (encoded.length + padding) % 4 === 0;
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
