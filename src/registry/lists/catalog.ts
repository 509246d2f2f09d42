import { readQueryField } from '../query.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import type { CanonicalTarget } from '../target.ts';

/** A client's query of the list of repositories; of a repeated field the first counts, as with docker-registry. */
export type CatalogQuery = {
  /** The requested number of names, as written; null: not given. */
  readonly n: string | null;
  /** The name after which to begin; null: at the beginning. */
  readonly last: string | null;
};

/** A page of the list. */
export type CatalogPage = {
  readonly names: readonly string[];
  /** The query of the next page; null: this was the last. */
  readonly next: string | null;
};

export const catalogPath = '/v2/_catalog';

export function parseCatalogQuery({ raw, rawPath }: CanonicalTarget): CatalogQuery {
  const fields = raw
    .slice(rawPath.length + 1)
    .split('&')
    .map(readQueryField);
  const valueOf = (wanted: string) => fields.find(({ name }) => name === wanted)?.value ?? '';
  return { n: valueOf('n') || null, last: valueOf('last') || null };
}

/** Formats it as a query, without the "?". */
export function formatCatalogQuery({ n, last }: CatalogQuery): string {
  const fields = { ...(last === null ? {} : { last }), ...(n === null ? {} : { n }) };
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');
}

/** Reads a registry's answer. @throws RangeError with what is wrong with it. */
export function parseCatalogPage(rawHeaders: RawHeaders, body: Buffer): CatalogPage {
  const { repositories } = readJsonObject(body);
  // Go writes an empty list as null.
  const names: unknown = repositories === null ? [] : repositories;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new RangeError('its list of repositories is not a list of names');
  return { names, next: readNextQuery(rawHeaders) };
}

/** Reads a JSON object. @throws RangeError when it is none. */
export function readJsonObject(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw new RangeError('it is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RangeError('it is not a JSON object');
  return value as Record<string, unknown>;
}

/**
 * Reads the query of the next page from a Link as registries use it (RFC 8288 section 3), whatever its host and path.
 * Null: there is none.
 */
export function readNextQuery(rawHeaders: RawHeaders): string | null {
  for (const link of headerValues(rawHeaders, 'link')) {
    const [, target] = /<([^<>]*)>[^<>]*;\s*rel="?next"?\s*(?:[;,]|$)/i.exec(link) ?? [];
    if (target === undefined) continue;
    const [, query = ''] = /\?([^#]*)/.exec(target) ?? [];
    if (!/^[\x21-\x7e]+$/.test(query)) throw new RangeError('its Link to the next part has no query');
    return query;
  }
  return null;
}
