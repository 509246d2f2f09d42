import type { SqliteDatabase, SqliteRow } from '../system/sqlite.ts';
import { pageRows, type InventoryTag, type TagKind, type TagQuestion } from './repository-lists.ts';

/** More twins of a tag are not named. */
const maxTwins = 10;

/** Reads what is known of tags of a repository; null: the repository is not known. */
export function readTags(
  database: SqliteDatabase,
  { repository, of }: Omit<TagQuestion, 'principal'>,
): readonly InventoryTag[] | null {
  const known = database.get('SELECT id FROM repositories WHERE name = ?', [repository]);
  if (known === null) return null;
  const id = Number(known['id']);
  const values = 'names' in of ? of.names.slice(0, pageRows) : [of.digest];
  const rows = database.all(
    `SELECT name, digest, bytes, kind, platforms, pushed, pushed_by, pulled FROM tags
     WHERE repository = ? AND ${'names' in of ? 'name' : 'digest'} IN (${values.map(() => '?').join()})
     ORDER BY name LIMIT ${pageRows}`,
    [id, ...values],
  );
  const twins = findTwins(database, id, rows);
  return rows.map((row) => readTag(row, twins));
}

/** The tags of each digest. */
function findTwins(
  database: SqliteDatabase,
  id: number,
  rows: readonly SqliteRow[],
): ReadonlyMap<string, readonly string[]> {
  const digests = [...new Set(rows.map(({ digest }) => digest))].filter((each) => typeof each === 'string');
  const found = database.all(
    `SELECT digest, name FROM (
       SELECT digest, name, row_number() OVER (PARTITION BY digest ORDER BY name) AS place FROM tags
       WHERE repository = ? AND digest IN (${digests.map(() => '?').join()})
     ) WHERE place <= ${maxTwins + 1}`,
    [id, ...digests],
  );
  const twins = new Map<string, string[]>();
  for (const { digest, name } of found) {
    const names = twins.get(String(digest)) ?? [];
    names.push(String(name));
    twins.set(String(digest), names);
  }
  return twins;
}

function readTag(row: SqliteRow, twins: ReadonlyMap<string, readonly string[]>): InventoryTag {
  const tag = String(row['name']);
  const digest = textOrNull(row['digest']);
  return {
    tag,
    digest,
    bytes: numberOrNull(row['bytes']),
    kind: textOrNull(row['kind']) as TagKind | null,
    platforms: (textOrNull(row['platforms']) ?? '').split(' ').filter((platform) => platform !== ''),
    pushedMs: numberOrNull(row['pushed']),
    pushedBy: textOrNull(row['pushed_by']),
    pulledMs: numberOrNull(row['pulled']),
    twins: (twins.get(digest ?? '') ?? []).filter((other) => other !== tag).slice(0, maxTwins),
  };
}

/** SQLite lets a column hold anything. */
export function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
