import { isRepositoryName } from '../../../registry/names/repository-name.ts';
import type { SearchPage, SearchQuery } from '../../../registry/lists/search.ts';
import type { Refused } from './catalog.ts';

export type SearchOptions = {
  /** Fetches a page of upstream's results. */
  readonly fetchPage: (query: string) => Promise<SearchPage | Refused>;
  /** Whether the client may see a repository. */
  readonly shows: (repository: string) => boolean;
  /** The most pages of results that are read. */
  readonly maxPages: number;
};

/** The page size for upstream. */
const pageSize = 100;

/**
 * Builds the answer to a search, with only visible repositories. Results are counted, so all of upstream's are read, up
 * to `maxPages` pages.
 */
export async function collectSearch(
  { others, n, page }: SearchQuery,
  { fetchPage, shows, maxPages }: SearchOptions,
): Promise<Record<string, unknown> | Refused> {
  const seen = new Set<string>();
  const found: unknown[] = [];
  let query: unknown;
  for (let pages = 1; pages <= maxPages; pages += 1) {
    const asked = `n=${pageSize}&page=${pages}`;
    const part = await fetchPage(others === '' ? asked : `${others}&${asked}`);
    if ('refused' in part) return part;
    query = part.query;
    let isNew = false;
    for (const { repository, entry } of part.results) {
      if (repository === null || seen.has(repository)) continue;
      isNew = true;
      seen.add(repository);
      if (isRepositoryName(repository) && shows(repository)) found.push(entry);
    }
    // A registry without paging repeats the same results.
    const isLast = part.pageCount === null ? part.results.length < pageSize : pages >= part.pageCount;
    if (isLast || !isNew) break;
  }
  const answer = { query, num_results: found.length };
  if (n === null) return { ...answer, results: found };
  return {
    ...answer,
    num_pages: Math.ceil(found.length / n),
    page,
    page_size: n,
    results: found.slice((page - 1) * n, page * n),
  };
}
