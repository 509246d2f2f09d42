import type { Principal } from '../registry/principal.ts';

/** The order of a list. What has no time or size is last, whatever the direction. */
export type ListSort = 'name' | 'pushed' | 'pulled' | 'size';

/** A question for the repositories that a principal may pull. Pages count from 1. */
export type RepositoryListQuestion = {
  readonly principal: Principal;
  /** A part of the name, in any case; empty: all. */
  readonly search: string;
  readonly sort: ListSort;
  readonly descending: boolean;
  readonly page: number;
};

/** A question for what is known of some tags of a repository: those of these names, or of this digest. */
export type TagQuestion = {
  readonly principal: Principal;
  readonly repository: string;
  readonly of: { readonly names: readonly string[] } | { readonly digest: string };
};

/** Times in milliseconds since the epoch; null: not known. */
type Dates = {
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
};

export type RepositoryRow = Dates & {
  readonly name: string;
  /** Without those that hold signatures and the like of others. Null: its list of tags was not read yet. */
  readonly tags: number | null;
  /** Of all manifests that its tags lead to, each once; a layer counts for each of them. Null: none was read yet. */
  readonly bytes: number | null;
};

export type TagKind = 'image' | 'index' | 'chart' | 'artifact' | 'unknown';

export type InventoryTag = Dates & {
  readonly tag: string;
  readonly digest: string | null;
  /** Bytes of all that it leads to, compressed, each part once; null: not known, or not read yet. */
  readonly bytes: number | null;
  /** Null: not read yet. */
  readonly kind: TagKind | null;
  /** Of an index: `linux/arm64/v8`. Of anything else nothing is known. */
  readonly platforms: readonly string[];
  /** Some of the other tags of the same digest. */
  readonly twins: readonly string[];
};

export type RepositoryListPage = {
  readonly rows: readonly RepositoryRow[];
  readonly total: number;
  /** At least 1. A page beyond the last is the last. */
  readonly pages: number;
  readonly page: number;
  /** When the registry was last asked for all of it, in milliseconds since the epoch; null: not yet. */
  readonly asOfMs: number | null;
  /** Whether all was read, and found room. */
  readonly isComplete: boolean;
};

/** The lists of repositories and tags that the record has. They answer null when there is none, or none now. */
export type RepositoryLists = {
  list(question: RepositoryListQuestion): Promise<RepositoryListPage | null>;
  /** By their names. Null, too, where the principal may not pull, or nothing is known of the repository. */
  tags(question: TagQuestion): Promise<readonly InventoryTag[] | null>;
};

/** Rows of a page, and tags of a question. */
export const pageRows = 50;
/** A page has at most 30 KB, so it has fewer rows where names are long: what its rows take, in bytes. */
const maxRowsBytes = 24_000;
/** Of a row beside its name, which stands in it twice. */
const rowBytes = 430;
/** No name of a repository is longer. */
const maxSearchLength = 255;

/** The text as names are searched for it. */
export function searchText(search: string): string {
  return search.slice(0, maxSearchLength).toLowerCase();
}

/** How many rows a page has that begins with this one; at least one, if there is one. */
export function countOnPage(rows: readonly { readonly name: string }[], first = 0): number {
  let bytes = 0;
  let count = 0;
  for (const { name } of rows.slice(first, first + pageRows)) {
    bytes += rowBytes + 2 * name.length;
    if (bytes > maxRowsBytes && count > 0) break;
    count += 1;
  }
  return count;
}

/** The rows of a page, and how many pages there are. A page beyond the last is the last. */
export function placePage<Row extends { readonly name: string }>(
  rows: readonly Row[],
  page: number,
): { readonly pages: number; readonly page: number; readonly shown: readonly Row[] } {
  const starts = [0];
  for (let next = countOnPage(rows); next < rows.length; next += countOnPage(rows, next)) starts.push(next);
  const shown = Number.isSafeInteger(page) ? Math.min(Math.max(page, 1), starts.length) : 1;
  return {
    pages: starts.length,
    page: shown,
    shown: rows.slice(starts[shown - 1], starts[shown] ?? rows.length),
  };
}
