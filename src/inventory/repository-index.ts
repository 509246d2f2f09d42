import type { SqliteDatabase, SqliteRow } from '../system/sqlite.ts';
import { numberOrNull, textOrNull } from './read-tags.ts';
import type { RepositoryRow } from './repository-lists.ts';

/** A row of a repository; `listedMs`: when its list of tags was last read; null: never. */
export type IndexedRepository = RepositoryRow & { readonly listedMs: number | null };

/** The repositories in memory: reading ten thousand rows through WebAssembly takes longer than a page may. */
export type RepositoryIndex = {
  /** All, by name. A name that comes or goes makes another array. */
  all(): readonly IndexedRepository[];
  /** Reads these again, before the next look. */
  changed(names: ReadonlySet<string>): void;
};

const select = 'SELECT name, tags, bytes, pushed, pushed_by, pulled, listed FROM repositories';
/** With more changes all are read again. */
const maxChanged = 1000;

/** Nothing is read before the first look. */
export function createRepositoryIndex(database: SqliteDatabase): RepositoryIndex {
  let rows: IndexedRepository[] | null = null;
  const stale = new Set<string>();

  const readAll = () => database.all(`${select} ORDER BY name`).map(readRow);
  const refresh = (known: IndexedRepository[], name: string): IndexedRepository[] => {
    const row = database.get(`${select} WHERE name = ?`, [name]);
    const at = placeOf(known, name);
    const isKnown = known[at]?.name === name;
    if (row !== null && isKnown) {
      Object.assign(known[at] ?? {}, readRow(row));
      return known;
    }
    if (row === null) return isKnown ? known.toSpliced(at, 1) : known;
    return known.toSpliced(at, 0, readRow(row));
  };
  return {
    all: () => {
      if (rows === null || stale.size > maxChanged) rows = readAll();
      else for (const name of stale) rows = refresh(rows, name);
      stale.clear();
      return rows;
    },
    changed: (names) => {
      if (rows !== null && stale.size <= maxChanged) for (const name of names) stale.add(name);
    },
  };
}

/** Where a name is, or belongs. */
function placeOf(rows: readonly IndexedRepository[], name: string): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((rows[middle]?.name ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function readRow(row: SqliteRow): IndexedRepository {
  return {
    name: String(row['name']),
    tags: row['listed'] === null && row['tags'] === 0 ? null : numberOrNull(row['tags']),
    bytes: numberOrNull(row['bytes']),
    pushedMs: numberOrNull(row['pushed']),
    pushedBy: textOrNull(row['pushed_by']),
    pulledMs: numberOrNull(row['pulled']),
    listedMs: numberOrNull(row['listed']),
  };
}
