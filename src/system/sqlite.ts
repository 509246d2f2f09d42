import { rmdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';

const require = createRequire(import.meta.url);

/**
 * How much of a function of WebAssembly is to be run, in bytes of its code, before V8 compiles it once more, with its optimizing
 * compiler. By default just opening a database has that done to hundreds of functions, some more large than hot: 1.1 s of CPU and
 * 50 MB (Node 20). This many are run by a function within some seconds of work.
 */
const optimizedAfterBytes = 1_000_000_000;

/** The part of node-sqlite3-wasm that is used. Whatever it throws is an Error with SQLite's own message. */
export type SqliteDatabase = {
  exec(sql: string): void;
  run(sql: string, values?: readonly SqliteValue[]): { readonly changes: number };
  get(sql: string, values?: readonly SqliteValue[]): SqliteRow | null;
  all(sql: string, values?: readonly SqliteValue[]): SqliteRow[];
  prepare(sql: string): SqliteStatement;
  readonly inTransaction: boolean;
  close(): void;
};
export type SqliteStatement = {
  run(values: readonly SqliteValue[]): { readonly changes: number };
  get(values: readonly SqliteValue[]): SqliteRow | null;
  all(values: readonly SqliteValue[]): SqliteRow[];
  finalize(): void;
};
export type SqliteValue = string | number | null;
export type SqliteRow = Readonly<Record<string, SqliteValue>>;

/**
 * Opens a database for this process alone: SQLite compiled to WebAssembly has no shared memory, which a journal in WAL
 * mode needs otherwise. A folder beside the file, FILE.lock, says that it is open.
 *
 * @param options breaksLock: whether a lock that is there is known to be left over by a process that was killed
 */
export function openSqlite(file: string, { breaksLock }: { breaksLock: boolean }): SqliteDatabase {
  // Loaded when needed: it takes 13 MB, and 50 when it has much to do. By name, since its own types declare no module of this form.
  setFlagsFromString(`--wasm-tiering-budget=${optimizedAfterBytes}`);
  const { Database } = require('node-sqlite3-wasm') as { Database: new (file: string) => SqliteDatabase };
  if (breaksLock) removeLock(file);
  const database = new Database(file);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.get('PRAGMA journal_mode = WAL');
    // In WAL mode nothing that was committed is lost when a process is killed, and the file stays whole when the power fails.
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF');
    return database;
  } catch (error) {
    closeQuietly(database);
    throw error;
  }
}

/** Closes a database that may be broken. */
export function closeQuietly(database: SqliteDatabase): void {
  try {
    database.close();
  } catch {
    // it is given up in any case
  }
}

function removeLock(file: string): void {
  try {
    rmdirSync(`${file}.lock`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
