/** What the first proxy of a chain says of the request that came to it; null: it does not say. */
export type ForwardedElement = { readonly host: string | null; readonly proto: string | null };

/** One pair or none, and what parts it from the next; unquoted values with a colon are written by many proxies, against the grammar. */
const pairPattern =
  /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))[ \t]*)?(;|,|$)/sy;

/** Reads the first element of a `Forwarded` field (RFC 7239 section 4); null for one that cannot be read, or says a thing twice. */
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
