import type { SqliteDatabase, SqliteStatement, SqliteValue } from '../system/sqlite.ts';
import { attachedTagGlobs } from '../registry/names/attached-tag.ts';
import type { InventorySpace } from './inventory-space.ts';
import { due } from './due-times.ts';

/** One row of a tag, as far as writing needs it. */
export type KnownTag = {
  readonly digest: string | null;
  readonly kind: string | null;
  readonly seen: number;
  readonly pushed: number | null;
};

/** Rows of repositories and tags, one at a time. Call it within a transaction. */
export type InventoryRows = {
  findRepository(name: string): number | null;
  /** When it was last known to be there. */
  seenRepository(id: number): number;
  /** Adds it where it is missing. Null: there is no room. */
  repository(name: string, nowMs: number, dueMs?: number): number | null;
  findTag(repository: number, tag: string): KnownTag | null;
  /** Adds it where it is missing; false: there is no room. */
  tag(
    of: { readonly id: number; readonly name: string },
    tag: string,
    nowMs: number,
    dueMs?: number,
  ): boolean;
  removeTags(where: string, values: readonly SqliteValue[]): void;
  removeRepository(id: number): void;
  run(sql: string, values: readonly SqliteValue[]): number;
  /** Counts tags and bytes of a repository anew. */
  sum(id: number): void;
  close(): void;
};

/** Signatures and the like are no tags to those who count them. */
const isAttached = attachedTagGlobs.map((glob) => `name GLOB '${glob}'`).join(' OR ');

const statements = {
  findRepository: 'SELECT id FROM repositories WHERE name = ?',
  seeRepository: 'UPDATE repositories SET seen = max(seen, ?) WHERE id = ?',
  addRepository: `INSERT INTO repositories (name, seen, due, pushed, pushed_by, pulled)
    SELECT ?1, ?2, ?3, pushed, pushed_by, pulled
    FROM (SELECT 1) LEFT JOIN manifests ON repository = ?1 AND manifests.name = ''`,
  findTag: 'SELECT digest, kind, seen, pushed FROM tags WHERE repository = ? AND name = ?',
  seeTag: 'UPDATE tags SET seen = max(seen, ?) WHERE repository = ? AND name = ?',
  // What was pushed and pulled before its tag was known here is in the record of usage.
  addTag: `INSERT INTO tags (repository, name, seen, due, pushed, pushed_by, pulled)
    SELECT ?1, ?2, ?3, ?4, pushed, pushed_by, pulled
    FROM (SELECT 1) LEFT JOIN manifests ON repository = ?5 AND manifests.name = ?2`,
  sum: `UPDATE repositories SET
    tags = (SELECT count(*) FROM tags WHERE repository = ?1 AND NOT (${isAttached})),
    bytes = (SELECT sum(bytes) FROM (SELECT max(bytes) AS bytes FROM tags WHERE repository = ?1 AND bytes IS NOT NULL GROUP BY digest))
    WHERE id = ?1`,
} as const;

export function openInventoryRows(database: SqliteDatabase, space: InventorySpace): InventoryRows {
  const prepared = new Map<string, SqliteStatement>();
  const statement = (sql: string): SqliteStatement => {
    const known = prepared.get(sql) ?? database.prepare(sql);
    prepared.set(sql, known);
    return known;
  };
  const findRepository = (name: string): number | null => {
    const id = statement(statements.findRepository).get([name])?.['id'];
    return typeof id === 'number' ? id : null;
  };
  const refuse = (nowMs: number) => {
    statement('UPDATE inventory SET refused = ?').run([nowMs]);
  };
  const removeTags = (where: string, values: readonly SqliteValue[]): void =>
    space.count(-statement(`DELETE FROM tags WHERE ${where}`).run(values).changes);

  return {
    findRepository,
    repository: (name, nowMs, dueMs = due.now) => {
      const known = findRepository(name);
      if (known !== null) {
        statement(statements.seeRepository).run([nowMs, known]);
        return known;
      }
      if (!space.hasRoom()) {
        refuse(nowMs);
        return null;
      }
      statement(statements.addRepository).run([name, nowMs, dueMs]);
      space.count(1);
      return findRepository(name);
    },
    seenRepository: (id) =>
      Number(statement('SELECT seen FROM repositories WHERE id = ?').get([id])?.['seen']),
    findTag: (repository, tag) => {
      const row = statement(statements.findTag).get([repository, tag]);
      return row as KnownTag | null;
    },
    tag: ({ id, name }, tag, nowMs, dueMs = due.now) => {
      const seen = statement(statements.seeTag).run([nowMs, id, tag]);
      if (seen.changes > 0) return true;
      if (!space.hasRoom()) {
        refuse(nowMs);
        return false;
      }
      statement(statements.addTag).run([id, tag, nowMs, dueMs, name]);
      space.count(1);
      return true;
    },
    removeTags,
    removeRepository: (id) => {
      removeTags('repository = ?', [id]);
      space.count(-statement('DELETE FROM repositories WHERE id = ?').run([id]).changes);
    },
    run: (sql, values) => statement(sql).run(values).changes,
    sum: (id) => statement(statements.sum).run([id]),
    close: () => {
      for (const each of prepared.values()) each.finalize();
    },
  };
}
