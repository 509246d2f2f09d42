import type { CanonicalTarget } from './target.ts';

/** A field of a query: as written, and decoded. */
export type QueryField = { readonly text: string; readonly name: string; readonly value: string };

/**
 * Reads the fields of a target's query in order, with {@link readQueryField}. ";" also separates fields, as it did for
 * readers before 2021.
 */
export function parseQuery({ raw, rawPath }: CanonicalTarget): QueryField[] {
  if (raw === rawPath) return [];
  return raw
    .slice(rawPath.length + 1)
    .split(/[&;]/)
    .map((text) => ({ text, ...readQueryField(text) }));
}

/**
 * Reads a field as application/x-www-form-urlencoded (WHATWG URL section 5.1); a name that cannot be decoded stays as
 * it is.
 */
export function readQueryField(text: string): { name: string; value: string } {
  // URLSearchParams would drop a leading "?", which to upstream is part of the name.
  const [name = '', value = ''] = [...new URLSearchParams(`?${text}`)][0] ?? [];
  return { name, value };
}
