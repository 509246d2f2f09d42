import type { CanonicalTarget } from './target.ts';

/** A field of a query: as it is written there, and what it means. */
export type QueryField = { readonly text: string; readonly name: string; readonly value: string };

/**
 * The fields of a target's query, in its order, as {@link readQueryField} reads them. ";" parts fields, too: it did to readers of before 2021.
 */
export function parseQuery({ raw, rawPath }: CanonicalTarget): QueryField[] {
  if (raw === rawPath) return [];
  return raw
    .slice(rawPath.length + 1)
    .split(/[&;]/)
    .map((text) => ({ text, ...readQueryField(text) }));
}

/** A field of a query as application/x-www-form-urlencoded has it (WHATWG URL section 5.1); a name that cannot be decoded is left as it is. */
export function readQueryField(text: string): { name: string; value: string } {
  // A first "?" would be left out, and to upstream it is part of the name.
  const [name = '', value = ''] = [...new URLSearchParams(`?${text}`)][0] ?? [];
  return { name, value };
}
