import type { SqliteDatabase } from '../system/sqlite.ts';
import type { Finding, InventoryWork } from './findings.ts';
import { due, lately } from './due-times.ts';
import type { InventoryChange } from './inventory-change.ts';
import { nextWork } from './inventory-queue.ts';
import { openInventoryRows } from './inventory-rows.ts';
import { createInventorySpace, type InventoryLimits } from './inventory-space.ts';
import { createInventoryWriter, type ReferenceUse } from './inventory-writer.ts';
import type { VisibleRepositories } from './repository-page.ts';
import { readRepositoryPage } from './repository-page.ts';
import { createRepositoryIndex } from './repository-index.ts';
import type {
  InventoryTag,
  RepositoryListPage,
  RepositoryListQuestion,
  TagQuestion,
} from './repository-lists.ts';
import { numberOrNull, readTags } from './read-tags.ts';

/** How full the inventory is, and when all lists were last read; null: not yet. */
export type InventoryFill = {
  readonly rows: number;
  readonly bytes: number;
  readonly walkedMs: number | null;
};

/** The repositories and tags in the file of the record. Its members throw what SQLite says. */
export type InventoryTables = {
  /** Writes what happened. `isLossy`: more happened than is known. */
  write(
    happened: {
      readonly uses: readonly ReferenceUse[];
      readonly changes: readonly InventoryChange[];
      readonly isLossy: boolean;
    },
    nowMs: number,
  ): void;
  find(findings: readonly Finding[], nowMs: number): void;
  next(nowMs: number): InventoryWork | null;
  list(question: RepositoryListQuestion, visible: VisibleRepositories): RepositoryListPage;
  tags(question: Omit<TagQuestion, 'principal'>): readonly InventoryTag[] | null;
  fill(): InventoryFill;
  close(): void;
};

export function openInventoryTables(
  database: SqliteDatabase,
  limits: InventoryLimits,
  nowMs: number,
): InventoryTables {
  const space = createInventorySpace(database, limits);
  const rows = openInventoryRows(database, space);
  const writer = createInventoryWriter(rows);
  const index = createRepositoryIndex(database);

  const readState = () => {
    const { walked, refused, is_open: isOpen } = database.get('SELECT * FROM inventory') ?? {};
    return { walkedMs: numberOrNull(walked), refusedMs: numberOrNull(refused), wasOpen: isOpen === 1 };
  };
  /** Has everything looked at again: something happened of which nothing is known. */
  const doubt = (doubtMs: number): void => {
    rows.run('UPDATE inventory SET walk_due = 0', []);
    rows.run('UPDATE repositories SET due = ? WHERE due > ?', [due.soon, due.soon]);
    rows.run('UPDATE tags SET due = ? WHERE due > ? AND pushed > ?', [due.soon, due.soon, lately(doubtMs)]);
  };
  const change = (act: () => void): void => {
    let names: ReadonlySet<string> = new Set();
    try {
      space.change(() => {
        act();
        names = writer.finish();
      });
    } catch (error) {
      writer.forget();
      throw error;
    }
    index.changed(names);
  };

  // What happened in the last seconds before a kill was not written.
  space.change(() => {
    if (readState().wasOpen) doubt(nowMs);
    rows.run('UPDATE inventory SET is_open = 1', []);
  });
  return {
    write: ({ uses, changes, isLossy }, atMs) => {
      if (uses.length + changes.length === 0 && !isLossy) return;
      change(() => {
        for (const use of uses) writer.use(use, atMs);
        for (const each of changes) writer.change(each, atMs);
        if (isLossy) doubt(atMs);
      });
    },
    find: (findings, atMs) =>
      change(() => {
        for (const finding of findings) writer.find(finding, atMs);
      }),
    next: (atMs) => {
      const work = nextWork(database, atMs);
      // Read at leisure, and not when somebody waits for the first page.
      if (work === null) index.all();
      return work;
    },
    list: (question, visible) =>
      readRepositoryPage(visible.of(question.principal, index.all()), question, readState()),
    tags: (question) => readTags(database, question),
    fill: () => ({ rows: space.rows, bytes: space.bytes, walkedMs: readState().walkedMs }),
    close: () => {
      try {
        rows.run('UPDATE inventory SET is_open = 0', []);
      } finally {
        rows.close();
      }
    },
  };
}
