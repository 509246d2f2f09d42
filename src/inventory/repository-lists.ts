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
  /** Null: its list of tags was not read yet. */
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

/** Rows of a page, and tags of a question: with their markup they fit into 30 KB. */
export const pageRows = 50;
/** No name of a repository is longer. */
const maxSearchLength = 255;

/** The text as names are searched for it. */
export function searchText(search: string): string {
  return search.slice(0, maxSearchLength).toLowerCase();
}

/** The numbers of a page. */
export function placePage(total: number, page: number): { pages: number; page: number; first: number } {
  const pages = Math.max(1, Math.ceil(total / pageRows));
  const shown = Number.isSafeInteger(page) ? Math.min(Math.max(page, 1), pages) : 1;
  return { pages, page: shown, first: (shown - 1) * pageRows };
}
