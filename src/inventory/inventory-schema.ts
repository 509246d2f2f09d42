import type { SqliteDatabase } from '../system/sqlite.ts';

/** The tables beside the record of usage, in one file with it. */
const tables = `
CREATE TABLE inventory (
  -- When the lists of all registries were last read to their end.
  walked INTEGER,
  walk_due INTEGER NOT NULL,
  -- When something last found no room.
  refused INTEGER,
  is_open INTEGER NOT NULL
);
CREATE TABLE repositories (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tags INTEGER, bytes INTEGER,
  pushed INTEGER, pushed_by TEXT, pulled INTEGER,
  -- When it was last known to be there, when its list was last read to the end, and when to read it next.
  seen INTEGER NOT NULL, listed INTEGER, due INTEGER NOT NULL
);
CREATE INDEX repositories_due ON repositories (due);
CREATE TABLE tags (
  repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT, bytes INTEGER, kind TEXT, platforms TEXT,
  pushed INTEGER, pushed_by TEXT, pulled INTEGER,
  seen INTEGER NOT NULL, due INTEGER NOT NULL, PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX tags_due ON tags (due);
INSERT INTO inventory VALUES (NULL, 0, NULL, 0);
`;
const tableNames = ['inventory', 'repositories', 'tags'] as const;
const indexNames = ['repositories_due', 'tags_due', 'sqlite_autoindex_repositories_1'];

export function createInventoryTables(database: SqliteDatabase): void {
  database.exec(tables);
}

export function dropInventoryTables(database: SqliteDatabase): void {
  for (const name of tableNames) database.exec(`DROP TABLE ${name}`);
}

/** Pages of the file that the tables take. Reads the whole file. */
export function countInventoryPages(database: SqliteDatabase): number {
  const names = [...tableNames, ...indexNames].map((name) => `'${name}'`).join();
  const row = database.get(
    `SELECT sum(pageno) AS pages FROM dbstat WHERE aggregate = TRUE AND name IN (${names})`,
  );
  return Number(row?.['pages'] ?? 0);
}
