import type { SqliteDatabase } from '../system/sqlite.ts';
import { countInventoryPages } from './inventory-schema.ts';

export type InventoryLimits = { readonly maxRows: number; readonly maxBytes: number };

/** How much of the file the inventory takes, and whether there is room for more. Nothing goes to make room. */
export type InventorySpace = {
  readonly bytes: number;
  readonly rows: number;
  /** Counts rows that were added, or removed. */
  count(rows: number): void;
  /** Whether there is room for another row. */
  hasRoom(): boolean;
  /** Runs what changes these tables alone, in one transaction. */
  change(act: () => void): void;
};

/** The size is looked at once in so many rows. */
const rowsPerLook = 500;

export function createInventorySpace(
  database: SqliteDatabase,
  { maxRows, maxBytes }: InventoryLimits,
): InventorySpace {
  const number = (sql: string) => Number(Object.values(database.get(sql) ?? {})[0] ?? 0);
  const pageBytes = number('PRAGMA page_size');
  const usedPages = () => number('PRAGMA page_count') - number('PRAGMA freelist_count');
  let pages = countInventoryPages(database);
  let rows = number('SELECT (SELECT count(*) FROM repositories) + (SELECT count(*) FROM tags)');
  let others = usedPages() - pages;
  let sinceLook = 0;
  let fits = pages * pageBytes < maxBytes;

  const look = () => {
    // No page belongs to two tables, so whatever comes or goes in a transaction of these tables is theirs.
    pages = usedPages() - others;
    sinceLook = 0;
    fits = pages * pageBytes < maxBytes;
  };
  return {
    get bytes() {
      return pages * pageBytes;
    },
    get rows() {
      return rows;
    },
    count: (more) => {
      rows += more;
      sinceLook += Math.max(more, 0);
      if (sinceLook >= rowsPerLook) look();
    },
    hasRoom: () => fits && rows < maxRows,
    change: (act) => {
      others = usedPages() - pages;
      const before = { rows, pages };
      database.exec('BEGIN IMMEDIATE');
      try {
        act();
        database.exec('COMMIT');
        look();
      } catch (error) {
        if (database.inTransaction) database.exec('ROLLBACK');
        ({ rows, pages } = before);
        throw error;
      }
    },
  };
}
