import { readJsonObject } from './catalog.ts';
import { readQueryField } from '../query.ts';
import { nameV1Repository } from '../names/repository-name.ts';
import type { CanonicalTarget } from '../target.ts';

/** A search of a v1 client. */
export type SearchQuery = {
  /** All fields but the two below, as the client wrote them. */
  readonly others: string;
  /** How many results a page has; null: all of them. */
  readonly n: number | null;
  /** Counted from 1. */
  readonly page: number;
};

/** A result, with its repository; null: its name is not a valid one. */
export type SearchResult = { readonly repository: string | null; readonly entry: unknown };

/** A page of a registry's answer. */
export type SearchPage = {
  readonly query: unknown;
  readonly results: readonly SearchResult[];
  /** The number of pages; null: the registry does not say, and may have only this one. */
  readonly pageCount: number | null;
};

/** The results per page when only the page number is given, as on the first protocol's public registry. */
const usualSize = 25;
const maxSize = 100;

export function parseSearchQuery({ raw, rawPath }: CanonicalTarget): SearchQuery {
  const fields = raw
    .slice(rawPath.length + 1)
    .split('&')
    .filter((text) => text !== '')
    .map((text) => ({ text, ...readQueryField(text) }));
  const numberOf = (wanted: string): number | null => {
    const value = fields.find(({ name }) => name === wanted)?.value ?? '';
    return /^[1-9]\d{0,8}$/.test(value) ? Number(value) : null;
  };
  const page = numberOf('page');
  const n = numberOf('n') ?? (page === null ? null : usualSize);
  const others = fields.filter(({ name }) => name !== 'n' && name !== 'page').map(({ text }) => text);
  return { others: others.join('&'), n: n === null ? null : Math.min(n, maxSize), page: page ?? 1 };
}

/** The search term, decoded; "" when there is none. */
export function readSearchedText({ raw, rawPath }: CanonicalTarget): string {
  const fields = raw
    .slice(rawPath.length + 1)
    .split('&')
    .map(readQueryField);
  return fields.find(({ name }) => name === 'q')?.value ?? '';
}

/** Reads a registry's answer. @throws RangeError with what is wrong with it. */
export function parseSearchPage(body: Buffer): SearchPage {
  const { query, results, num_pages: pageCount } = readJsonObject(body);
  const entries: unknown = results === null ? [] : results;
  if (!Array.isArray(entries)) throw new RangeError('its results are not a list');
  return {
    query,
    results: entries.map((entry: unknown) => ({ repository: readRepository(entry), entry })),
    pageCount: typeof pageCount === 'number' ? pageCount : null,
  };
}

function readRepository(entry: unknown): string | null {
  const { name } = (entry ?? {}) as { readonly name?: unknown };
  return typeof name === 'string' ? nameV1Repository(name) : null;
}
