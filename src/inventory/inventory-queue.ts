import type { SqliteDatabase, SqliteRow } from '../system/sqlite.ts';
import { due } from './due-times.ts';
import type { InventoryWork } from './findings.ts';

/** How much is handed out at once: what was found is written when all of it was read. */
const most = { repositories: 10, tags: 50 };

const dueTags = `SELECT repositories.name AS repository, tags.name AS tag, digest, kind
  FROM tags INDEXED BY tags_due JOIN repositories ON repositories.id = tags.repository
  WHERE tags.due <= ? ORDER BY tags.due LIMIT ${most.tags}`;
const dueRepositories = `SELECT name FROM repositories WHERE due <= ? ORDER BY due LIMIT ${most.repositories}`;

/** What to read next: what was just written first, then what is there at all, then manifests. Null: nothing now. */
export function nextWork(database: SqliteDatabase, nowMs: number): InventoryWork | null {
  const manifests = (beforeMs: number): InventoryWork | null => {
    const tags = database.all(dueTags, [beforeMs]).map(readTag);
    return tags.length === 0 ? null : { read: 'manifests', tags };
  };
  const lists = (beforeMs: number): InventoryWork | null => {
    const repositories = database.all(dueRepositories, [beforeMs]).map(({ name }) => String(name));
    return repositories.length === 0 ? null : { read: 'tags', repositories };
  };
  const walk = (): InventoryWork | null => {
    const row = database.get('SELECT walk_due FROM inventory');
    return Number(row?.['walk_due']) <= nowMs ? { read: 'catalogs' } : null;
  };
  return manifests(due.now) ?? lists(due.now) ?? walk() ?? lists(nowMs) ?? manifests(nowMs);
}

function readTag({ repository, tag, digest, kind }: SqliteRow) {
  return {
    repository: String(repository),
    tag: String(tag),
    digest: typeof digest === 'string' ? digest : null,
    isRead: kind !== null,
  };
}
