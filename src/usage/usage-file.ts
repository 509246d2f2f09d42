import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { closeQuietly, openSqlite, type SqliteDatabase, type SqliteRow } from '../system/sqlite.ts';
import {
  countInventoryPages,
  createInventoryTables,
  dropInventoryTables,
} from '../inventory/inventory-schema.ts';
import type { InventoryLimits } from '../inventory/inventory-space.ts';
import { openInventoryTables, type InventoryTables } from '../inventory/inventory-tables.ts';
import { createUsageWriter, type UsageFill, type UsageLimits } from './usage-writer.ts';
import type { UsageBatch } from './usage-buffer.ts';

/** The last use of one kind, and how many there were. */
export type LastUse = { readonly at: number | null; readonly by: string | null; readonly count: number };

/** A repository, or a tag or digest in one. Times in milliseconds since the epoch. */
export type UsageRow = {
  readonly name: string;
  /** Where a tag led at its last use; null: not known, or it is no tag. */
  readonly digest: string | null;
  readonly pulls: LastUse;
  readonly pushes: LastUse;
};

/** The last pull of a tag or digest, in milliseconds since the epoch. */
export type UsagePull = { readonly repository: string; readonly name: string; readonly at: number };

/** One day of a user with one family of clients. */
export type UserDay = {
  readonly user: string;
  /** YYYY-MM-DD, in UTC. */
  readonly day: string;
  readonly family: string;
  readonly logins: number;
  /** Of all families of that day, as far as known. */
  readonly addresses: number;
};

/** The record on disk, open for this process alone. Its members throw what SQLite says. */
export type UsageFile = {
  /** From when on nothing is missing, in milliseconds since the epoch: its beginning, or later. */
  readonly since: number;
  /**
   * Writes a batch in one transaction, and lets the oldest rows go when there are too many. `lostMs`: when uses were lost
   * last; null: none since the last write.
   */
  write(
    batch: UsageBatch,
    addresses: ReadonlyMap<string, number>,
    nowMs: number,
    lostMs?: number | null,
  ): void;
  fill(): UsageFill;
  /** The repositories and tags that there are; null: they are not kept. */
  readonly inventory: InventoryTables | null;
  /** Pages in order: what comes after `after`. */
  repositories(after: string, limit: number): UsageRow[];
  /** `after` null: from the row of the repository itself on, whose name is empty. */
  references(repository: string, after: string | null, limit: number): UsageRow[];
  /** What was pulled in a repository, by name. */
  pulls(repository: string, after: string, limit: number): UsagePull[];
  userDays(after: Pick<UserDay, 'user' | 'day' | 'family'>, limit: number): UserDay[];
  /** Whether it is still what lies under its path. */
  isInPlace(): boolean;
  close(): void;
};

/** The file is no record, or not of this version: it is to be set aside. */
export class BrokenRecordError extends Error {}

/** "TGus": marks the file as a record of usage. */
const applicationId = 0x54477573;
/** Of a file without, and with, the tables of the inventory. */
const versions = { plain: 1, withInventory: 2 } as const;

const schema = `
CREATE TABLE record (since INTEGER NOT NULL);
-- A row without a name is the repository itself.
CREATE TABLE manifests (
  repository TEXT NOT NULL, name TEXT NOT NULL, digest TEXT,
  pulled INTEGER, pulled_by TEXT, pulls INTEGER NOT NULL,
  pushed INTEGER, pushed_by TEXT, pushes INTEGER NOT NULL,
  used INTEGER NOT NULL, PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX manifests_used ON manifests (used);
CREATE TABLE user_days (
  user TEXT NOT NULL, day TEXT NOT NULL, family TEXT NOT NULL, logins INTEGER NOT NULL,
  PRIMARY KEY (user, day, family)
) WITHOUT ROWID;
CREATE INDEX user_days_day ON user_days (day);
CREATE TABLE user_addresses (
  user TEXT NOT NULL, day TEXT NOT NULL, addresses INTEGER NOT NULL, PRIMARY KEY (user, day)
) WITHOUT ROWID;
CREATE INDEX user_addresses_day ON user_addresses (day);
PRAGMA application_id = ${applicationId};
PRAGMA user_version = ${versions.plain};
`;

const columns = 'digest, pulled, pulled_by, pulls, pushed, pushed_by, pushes';

export type UsageFileOptions = {
  readonly breaksLock: boolean;
  readonly limits: UsageLimits;
  /** When a record begins that is not there yet, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Null: the inventory is not kept, and its tables go. Left out: what is there of it stays as it is. */
  readonly inventory?: InventoryLimits | null;
};

/**
 * Opens the record, or creates one that begins at `sinceMs`. The tables of the inventory come and go with its setting;
 * the record stays.
 *
 * @throws BrokenRecordError when the file is something else, or damaged
 * @throws Error with SQLite's message when it cannot be opened now
 */
export function openUsageFile(
  path: string,
  { breaksLock, limits, sinceMs, inventory }: UsageFileOptions,
): UsageFile {
  createFile(path);
  let database: SqliteDatabase | undefined;
  try {
    database = openSqlite(path, { breaksLock });
    prepare(database, sinceMs);
    if (inventory !== undefined) useVersion(database, inventory === null ? 'plain' : 'withInventory');
    return createUsageFile(path, database, limits, inventory ?? null);
  } catch (error) {
    if (database) closeQuietly(database);
    throw isDamage(error) ? new BrokenRecordError((error as Error).message) : error;
  }
}

const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;

/** Creates the file, if it is not there. A link would lead elsewhere, and a FIFO would hold up this thread for ever. */
function createFile(path: string): void {
  const file = openSync(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    if (!fstatSync(file).isFile()) throw new Error(`${path} is not a regular file`);
  } finally {
    closeSync(file);
  }
}

/** Whether SQLite says that the content is wrong; anything else may pass. */
export function isDamage(error: unknown): boolean {
  return (
    error instanceof BrokenRecordError ||
    (error instanceof Error && /not a database|malformed|no such (table|column|index)/.test(error.message))
  );
}

function prepare(database: SqliteDatabase, sinceMs: number): void {
  const read = (pragma: string) => readPragma(database, pragma);
  if (read('page_count') === 0 || isEmpty(database)) {
    database.exec(`BEGIN IMMEDIATE; ${schema}`);
    database.run('INSERT INTO record VALUES (?)', [sinceMs]);
    database.exec('COMMIT');
    return;
  }
  const isKnown = Object.values<number>(versions).includes(read('user_version'));
  if (read('application_id') !== applicationId || !isKnown)
    throw new BrokenRecordError('it has another form than this version writes');
  const [verdict] = Object.values(database.get('PRAGMA quick_check(1)') ?? {});
  if (verdict !== 'ok') throw new BrokenRecordError(`its check says: ${verdict}`);
}

/** Adds the tables of the inventory to a file without them, or removes them, in one transaction. */
function useVersion(database: SqliteDatabase, wanted: keyof typeof versions): void {
  if (readPragma(database, 'user_version') === versions[wanted]) return;
  database.exec('BEGIN IMMEDIATE');
  if (wanted === 'withInventory') createInventoryTables(database);
  else dropInventoryTables(database);
  database.exec(`PRAGMA user_version = ${versions[wanted]}; COMMIT`);
}

function readPragma(database: SqliteDatabase, pragma: string): number {
  return Number(Object.values(database.get(`PRAGMA ${pragma}`) ?? {})[0]);
}

function isEmpty(database: SqliteDatabase): boolean {
  return database.get('SELECT name FROM sqlite_schema LIMIT 1') === null;
}

function createUsageFile(
  path: string,
  database: SqliteDatabase,
  limits: UsageLimits,
  inventoryLimits: InventoryLimits | null,
): UsageFile {
  const readSince = () => Number(database.get('SELECT since FROM record')?.['since']);
  if (!isCount(readSince())) throw new BrokenRecordError('it does not say when it began');
  const inode = statSync(path).ino;
  const hasTables = readPragma(database, 'user_version') === versions.withInventory;
  let inventory: InventoryTables | null = null;
  let tableBytes = hasTables ? countInventoryPages(database) * readPragma(database, 'page_size') : 0;
  const otherBytes = () => inventory?.fill().bytes ?? tableBytes;
  const writer = createUsageWriter(database, { ...limits, otherBytes });
  if (inventoryLimits !== null && tableBytes > inventoryLimits.maxBytes) {
    useVersion(database, 'plain');
    useVersion(database, 'withInventory');
    tableBytes = 0;
  }
  writer.shrink();
  inventory = inventoryLimits && openInventoryTables(database, inventoryLimits, Date.now());
  return {
    inventory,
    get since() {
      return readSince();
    },
    write: (batch, addresses, nowMs, lostMs = null) => writer.write(batch, addresses, nowMs, lostMs),
    fill: () => writer.fill(),
    repositories: (after, limit) =>
      database
        .all(
          `SELECT repository AS title, ${columns} FROM manifests WHERE name = '' AND repository > ? ORDER BY repository LIMIT ?`,
          [after, limit],
        )
        .map(readRow),
    references: (repository, after, limit) =>
      database
        .all(
          `SELECT name AS title, ${columns} FROM manifests WHERE repository = ? AND name ${after === null ? '>=' : '>'} ? ORDER BY name LIMIT ?`,
          [repository, after ?? '', limit],
        )
        .map(readRow),
    pulls: (repository, after, limit) =>
      database
        .all(
          `SELECT name, pulled FROM manifests
           WHERE repository = ? AND name > ? AND pulled IS NOT NULL ORDER BY name LIMIT ?`,
          [repository, after, limit],
        )
        .map((row) => ({
          repository,
          name: readTextIfAny(row, 'name') ?? '',
          at: readCount(row, 'pulled'),
        })),
    userDays: ({ user, day, family }, limit) =>
      database
        .all(
          `SELECT user, day, family, logins, coalesce(addresses, 0) AS addresses
           FROM user_days LEFT JOIN user_addresses USING (user, day)
           WHERE (user, day, family) > (?, ?, ?) ORDER BY user, day, family LIMIT ?`,
          [user, day, family, limit],
        )
        .map(readUserDay),
    isInPlace: () => {
      try {
        return statSync(path).ino === inode;
      } catch {
        return false;
      }
    },
    close: () => {
      inventory?.close();
      writer.close();
      database.close();
    },
  };
}

function readRow(row: SqliteRow): UsageRow {
  const lastUse = (at: string, by: string, count: string): LastUse => ({
    at: row[at] === null ? null : readCount(row, at),
    by: readTextIfAny(row, by),
    count: readCount(row, count),
  });
  return {
    name: readTextIfAny(row, 'title') ?? '',
    digest: readTextIfAny(row, 'digest'),
    pulls: lastUse('pulled', 'pulled_by', 'pulls'),
    pushes: lastUse('pushed', 'pushed_by', 'pushes'),
  };
}

function readUserDay(row: SqliteRow): UserDay {
  const read = (column: string) => readTextIfAny(row, column) ?? '';
  return {
    ...{ user: read('user'), day: read('day'), family: read('family') },
    ...{ logins: readCount(row, 'logins'), addresses: readCount(row, 'addresses') },
  };
}

/** The latest time that a Date can hold. Numbers beyond 2^53 come as BigInt. */
const maxTimeMs = 8.64e15;

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maxTimeMs;
}

/** A column that holds a number or a time. SQLite lets a column hold anything. @throws BrokenRecordError */
function readCount(row: SqliteRow, column: string): number {
  const value = row[column];
  if (!isCount(value)) throw new BrokenRecordError(`a row of it holds no number in ${column}`);
  return value;
}

function readTextIfAny(row: SqliteRow, column: string): string | null {
  const value = row[column] ?? null;
  if (value !== null && typeof value !== 'string')
    throw new BrokenRecordError(`a row of it holds no text in ${column}`);
  return value;
}
