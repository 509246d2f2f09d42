import { formatCatalogQuery, type CatalogPage, type CatalogQuery } from '../../../registry/lists/catalog.ts';
import { readQueryField } from '../../../registry/query.ts';
import { isRepositoryName } from '../../../registry/names/repository-name.ts';
import type { Fetched } from '../../../upstream/request.ts';
import type { PageCursors } from './page-cursors.ts';

/** Upstream's own answer, instead of a page. */
export type Refused = { readonly refused: Fetched };

/** A page as the client gets it. */
export type CatalogAnswer = {
  readonly names: readonly string[];
  /** The page size. */
  readonly size: number;
  /** The `last` of the next page; null: there is none. */
  readonly last: string | null;
};

export type CatalogOptions = {
  /** Fetches a page of upstream's list. */
  readonly fetchPage: (query: string) => Promise<CatalogPage | Refused>;
  /** Whether the client may see a repository. */
  readonly shows: (repository: string) => boolean;
  readonly cursors: PageCursors;
  /** The most pages of upstream's list that are read for one page. */
  readonly maxPages: number;
};

/** The page size for upstream, and for a client that gives none: the most that docker-registry returns by default. */
export const usualSize = 1000;

/** The size of the page, and whether pages of the usual size are read for it, not of the requested one. */
export function readPageSize(n: string | null): { readonly size: number; readonly isUsual: boolean } {
  const isNumber = n !== null && /^\d{1,9}$/.test(n);
  const size = isNumber ? Number(n) : usualSize;
  return { size, isUsual: isNumber ? size <= usualSize : n === null };
}

/**
 * Builds one page of the visible repositories. Reads upstream's list page by page, in its order, until the page is full
 * and it is known whether another name follows.
 */
export async function collectCatalog(
  asked: CatalogQuery,
  { fetchPage, shows, cursors, maxPages }: CatalogOptions,
): Promise<CatalogAnswer | Refused> {
  const isShown = (name: string) => isRepositoryName(name) && shows(name);
  // Lets upstream refuse what it would refuse.
  const { size, isUsual } = readPageSize(asked.n);
  const place = asked.last === null ? null : cursors.open(asked.last);
  let query = place?.query ?? formatCatalogQuery(isUsual ? { ...asked, n: String(usualSize) } : asked);
  // A registry that does not support "last" repeats earlier names. For a hidden name nothing is looked up: that would
  // reveal it.
  let after = place === null ? asked.last : place.after;
  if (after !== null && !isShown(after)) after = null;
  /** Whether upstream's Link to the next page is something other than the last name. */
  let isOpaque = place !== null && !namesLast(place.query);

  const names: string[] = [];
  let lastQuery = query;
  for (let pages = 1; ; pages += 1) {
    let page = await fetchPage(query);
    if ('refused' in page && page.refused.status === 400 && pages === 1 && place === null && isUsual) {
      query = formatCatalogQuery(asked);
      page = await fetchPage(query);
    }
    if ('refused' in page) return page;
    if (size === 0) return { names, size, last: null };
    const { next } = page;
    isOpaque ||= next !== null && !namesLast(next);
    for (const name of page.names.slice(after === null ? 0 : page.names.indexOf(after) + 1)) {
      if (!isShown(name)) continue;
      const lastName = names.at(-1) ?? '';
      if (names.length === size) {
        const last = isOpaque ? cursors.seal({ query: lastQuery, after: lastName }) : lastName;
        return { names, size, last };
      }
      names.push(name);
      lastQuery = query;
    }
    if (next === null) return { names, size, last: null };
    if (pages >= maxPages) return { names, size, last: cursors.seal({ query: next, after: null }) };
    query = next;
    after = null;
  }
}

/** Whether a Link continues after a name. */
export function namesLast(query: string): boolean {
  return query.split('&').some((text) => readQueryField(text).name === 'last');
}
