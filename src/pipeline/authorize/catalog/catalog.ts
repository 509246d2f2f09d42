import { formatCatalogQuery, type CatalogPage, type CatalogQuery } from '../../../registry/lists/catalog.ts';
import { readQueryField } from '../../../registry/query.ts';
import { isRepositoryName } from '../../../registry/names/repository-name.ts';
import type { Fetched } from '../../../upstream/request.ts';
import type { PageCursors } from './page-cursors.ts';

/** Upstream's own answer, in place of what was asked for. */
export type Refused = { readonly refused: Fetched };

/** A page as the client gets it. */
export type CatalogAnswer = {
  readonly names: readonly string[];
  /** How many names it could have. */
  readonly size: number;
  /** What the client is to name to get the next one; null: there is none. */
  readonly last: string | null;
};

export type CatalogOptions = {
  /** Asks upstream for a part of its list. */
  readonly fetchPage: (query: string) => Promise<CatalogPage | Refused>;
  /** Whether the client may know of a repository. */
  readonly shows: (repository: string) => boolean;
  readonly cursors: PageCursors;
  /** How many parts of upstream's list are read for one page. */
  readonly maxPages: number;
};

/** How many names upstream is asked for at a time, and a client gets that does not say: the most that docker-registry gives unless it is told otherwise. */
const usualSize = 1000;

/**
 * Puts together one page of the list of repositories, of those that are shown: upstream's list is read part by part, in upstream's
 * order, until the page is full and it is known whether another name follows.
 */
export async function collectCatalog(
  asked: CatalogQuery,
  { fetchPage, shows, cursors, maxPages }: CatalogOptions,
): Promise<CatalogAnswer | Refused> {
  const isShown = (name: string) => isRepositoryName(name) && shows(name);
  const isNumber = asked.n !== null && /^\d{1,9}$/.test(asked.n);
  const size = isNumber ? Number(asked.n) : usualSize;
  const place = asked.last === null ? null : cursors.open(asked.last);
  // What upstream would refuse, it is to refuse.
  const widened = isNumber ? size <= usualSize : asked.n === null;
  let query = place?.query ?? formatCatalogQuery(widened ? { ...asked, n: String(usualSize) } : asked);
  // A registry that does not know "last" answers with names from before it. For one that is hidden nothing is looked for: that would tell.
  let after = place === null ? asked.last : place.after;
  if (after !== null && !isShown(after)) after = null;
  /** Whether upstream's own way to its next part is another than the name of the last. */
  let isOpaque = place !== null && !namesLast(place.query);

  const names: string[] = [];
  let lastQuery = query;
  for (let pages = 1; ; pages += 1) {
    let page = await fetchPage(query);
    if ('refused' in page && page.refused.status === 400 && pages === 1 && place === null && widened) {
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

function namesLast(query: string): boolean {
  return query.split('&').some((text) => readQueryField(text).name === 'last');
}
