/** What the first proxy of a chain reports of the request it received; null: nothing. */
export type ForwardedElement = { readonly host: string | null; readonly proto: string | null };

/** A pair or none, and its separator; many proxies write unquoted values with a colon, against the grammar. */
const pairPattern =
  /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))[ \t]*)?(;|,|$)/sy;

/**
 * Parses the first element of a `Forwarded` field (RFC 7239 section 4); null if it is malformed, or repeats a
 * parameter.
 */
export function parseForwarded(value: string): ForwardedElement | null {
  const pairs = new Map<string, string>();
  pairPattern.lastIndex = 0;
  for (;;) {
    const match = pairPattern.exec(value);
    if (match === null) return null;
    const [, name, quoted, bare, end] = match;
    if (name !== undefined) {
      const key = name.toLowerCase();
      if (pairs.has(key)) return null;
      pairs.set(key, bare ?? (quoted ?? '').replace(/\\(.)/gs, '$1'));
    }
    if (end !== ';') return { host: pairs.get('host') ?? null, proto: pairs.get('proto') ?? null };
  }
}
