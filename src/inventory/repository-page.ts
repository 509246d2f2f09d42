import { LRUCache } from 'lru-cache';
import type { Policy } from '../policy/decision.ts';
import type { Principal } from '../registry/principal.ts';
import {
  placePage,
  searchText,
  type ListSort,
  type RepositoryListPage,
  type RepositoryListQuestion,
  type RepositoryRow,
} from './repository-lists.ts';
import type { IndexedRepository } from './repository-index.ts';

/** Finds what a principal may pull, and remembers that of the last few. */
export type VisibleRepositories = {
  of(principal: Principal, all: readonly IndexedRepository[]): readonly IndexedRepository[];
};

/** A page of someone who goes through pages is answered from it; each takes 8 bytes a repository. */
const maxRemembered = 8;
/** Who has longer claims is decided about each time. */
const maxKeyLength = 4096;

/** @param policy another one needs another memory */
export function createVisibleRepositories(policy: Policy): VisibleRepositories {
  const remembered = new LRUCache<
    string,
    { all: readonly IndexedRepository[]; visible: readonly IndexedRepository[] }
  >({ max: maxRemembered });
  const find = (principal: Principal, all: readonly IndexedRepository[]) => {
    if (policy.decideForAll(principal).actions.has('pull')) return all;
    if (!policy.mayAnywhere(principal, 'pull')) return [];
    return all.filter(({ name }) => policy.decide(principal, name).actions.has('pull'));
  };
  return {
    of: (principal, all) => {
      // All that a decision depends on: names, claims, grants and networks.
      const key = JSON.stringify(principal);
      const known = remembered.get(key);
      if (known?.all === all) return known.visible;
      const visible = find(principal, all);
      if (key.length <= maxKeyLength) remembered.set(key, { all, visible });
      return visible;
    },
  };
}

/** @param refusedMs when something last found no room @param walkedMs when all lists were last read */
export function readRepositoryPage(
  visible: readonly IndexedRepository[],
  { search, sort, descending, page }: Omit<RepositoryListQuestion, 'principal'>,
  { walkedMs, refusedMs }: { walkedMs: number | null; refusedMs: number | null },
): RepositoryListPage {
  const text = searchText(search);
  const found = text === '' ? visible : visible.filter(({ name }) => name.includes(text));
  const sorted = sortRepositories(found, sort, descending);
  const { shown, ...place } = placePage(sorted, page);
  const isWhole = ({ listedMs }: IndexedRepository) =>
    listedMs !== null && (refusedMs === null || refusedMs < listedMs);
  return {
    ...{ rows: shown.map(toRow), total: sorted.length, ...place },
    asOfMs: walkedMs,
    isComplete: walkedMs !== null && (refusedMs === null || refusedMs < walkedMs) && visible.every(isWhole),
  };
}

const fields = { pushed: 'pushedMs', pulled: 'pulledMs', size: 'bytes' } as const;

/** @param rows by name */
function sortRepositories(
  rows: readonly IndexedRepository[],
  sort: ListSort,
  descending: boolean,
): readonly IndexedRepository[] {
  if (sort === 'name') return descending ? rows.toReversed() : rows;
  const field = fields[sort];
  const direction = descending ? -1 : 1;
  return rows.toSorted((one, other) => {
    const [a, b] = [one[field], other[field]];
    if (a === b) return 0; // they stay in the order of their names
    if (a === null) return 1;
    return b === null ? -1 : direction * (a - b);
  });
}

function toRow({ name, tags, bytes, pushedMs, pushedBy, pulledMs }: IndexedRepository): RepositoryRow {
  return { name, tags, bytes, pushedMs, pushedBy, pulledMs };
}
