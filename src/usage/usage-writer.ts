import type { SqliteDatabase, SqliteValue } from '../system/sqlite.ts';
import { mergeManifest, type ManifestUse, type UsageBatch } from './usage-buffer.ts';

export type UsageLimits = { readonly maxRows: number; readonly maxBytes: number };

/** How full the record is. */
export type UsageFill = { readonly rows: number; readonly bytes: number };

/** Writes into the record, and keeps it within its limits. */
export type UsageWriter = {
  /**
   * @param addresses of each user of the batch: how many are known of this day
   * @param lostMs when uses were lost last; null: none since the last write
   */
  write(
    batch: UsageBatch,
    addresses: ReadonlyMap<string, number>,
    nowMs: number,
    lostMs: number | null,
  ): void;
  fill(): UsageFill;
  /** Makes a file smaller that is larger than it may be: the limits were other ones when it was written. */
  shrink(): void;
  close(): void;
};

/** Days of users are kept so long. */
const keptDays = 31;
const dayMs = 24 * 60 * 60 * 1000;
/** Later than every time. */
const never = Number.MAX_SAFE_INTEGER;
/** How much goes at once when the record is full, as a share of its rows: making room each time would cost more. */
const shareThatGoes = 0.05;
/** The journal beside the file is this large at most, unless one batch is larger. */
const journalBytes = 4 * 1024 * 1024;

const upsertManifest = `
INSERT INTO manifests (repository, name, digest, pulled, pulled_by, pulls, pushed, pushed_by, pushes, used)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (repository, name) DO UPDATE SET
  digest = coalesce(excluded.digest, digest),
  pulled_by = CASE WHEN excluded.pulled >= coalesce(pulled, 0) THEN excluded.pulled_by ELSE pulled_by END,
  pulled = CASE WHEN excluded.pulled >= coalesce(pulled, 0) THEN excluded.pulled ELSE pulled END,
  pulls = pulls + excluded.pulls,
  pushed_by = CASE WHEN excluded.pushed >= coalesce(pushed, 0) THEN excluded.pushed_by ELSE pushed_by END,
  pushed = CASE WHEN excluded.pushed >= coalesce(pushed, 0) THEN excluded.pushed ELSE pushed END,
  pushes = pushes + excluded.pushes,
  used = max(used, excluded.used)`;
const upsertUserDay = `
INSERT INTO user_days VALUES (?, ?, ?, ?)
ON CONFLICT (user, day, family) DO UPDATE SET logins = logins + excluded.logins`;
const upsertAddresses = `
INSERT INTO user_addresses VALUES (?, ?, ?)
ON CONFLICT (user, day) DO UPDATE SET addresses = max(addresses, excluded.addresses)`;

/** @param options otherBytes: of the file what is not the record's */
export function createUsageWriter(
  database: SqliteDatabase,
  { maxRows, maxBytes, otherBytes }: UsageLimits & { readonly otherBytes: () => number },
): UsageWriter {
  database.exec(`PRAGMA journal_size_limit = ${journalBytes}`);
  const number = (sql: string, values: readonly SqliteValue[] = []) =>
    Number(Object.values(database.get(sql, values) ?? {})[0] ?? 0);
  const pageBytes = number('PRAGMA page_size');
  const statements = [upsertManifest, upsertUserDay, upsertAddresses].map((sql) => database.prepare(sql));
  const [manifests, userDays, addressCounts] = statements;

  const countRows = () =>
    number(
      'SELECT (SELECT count(*) FROM manifests) + (SELECT count(*) FROM user_days) + (SELECT count(*) FROM user_addresses)',
    );
  const usedBytes = () =>
    pageBytes * (number('PRAGMA page_count') - number('PRAGMA freelist_count')) - otherBytes();

  const writeRow = (repository: string, name: string, digest: string | null, use: ManifestUse): void => {
    const { pulls, pulledMs, pulledBy, pushes, pushedMs, pushedBy } = use;
    const used = Math.max(pulledMs ?? 0, pushedMs ?? 0);
    manifests?.run([repository, name, digest, pulledMs, pulledBy, pulls, pushedMs, pushedBy, pushes, used]);
  };
  const writeManifests = (uses: readonly ManifestUse[]): void => {
    const whole = new Map<string, ManifestUse>();
    for (const use of uses) {
      const { repository, reference, digest } = use;
      writeRow(repository, reference, reference === digest ? null : digest, use);
      if (digest !== null && digest !== reference) writeRow(repository, digest, null, use);
      const known = whole.get(repository);
      if (known !== undefined) mergeManifest(known, use);
      else whole.set(repository, { ...use });
    }
    for (const [repository, use] of whole) writeRow(repository, '', null, use);
  };
  const isFull = () => countRows() > maxRows || usedBytes() > maxBytes;
  /** The oldest go first: rows of users by their day, and of manifests by their last use. */
  const makeRoom = (): void => {
    while (isFull()) {
      const rows = countRows();
      const goal = Math.max(rows - maxRows, Math.ceil(rows * shareThatGoes));
      const oldestUse = number(`SELECT coalesce((SELECT min(used) FROM manifests), ${never})`);
      const oldestDay = number(
        `SELECT coalesce((SELECT 1000 * unixepoch(min(day)) FROM user_days), ${never})`,
      );
      if (oldestUse === never && oldestDay === never) return;
      if (oldestUse < oldestDay + dayMs) dropManifests(goal);
      else dropUserDays(goal);
    }
  };
  /** What was used before then may be missing. */
  const moveBeginning = (toMs: number) =>
    database.run('UPDATE record SET since = ? WHERE since < ?', [toMs, toMs]);
  const dropManifests = (count: number): void => {
    const lastUse = number('SELECT max(used) FROM (SELECT used FROM manifests ORDER BY used LIMIT ?)', [
      count,
    ]);
    moveBeginning(lastUse + 1);
    database.run(
      'DELETE FROM manifests WHERE (repository, name) IN (SELECT repository, name FROM manifests ORDER BY used LIMIT ?)',
      [count],
    );
  };
  const dropUserDays = (count: number): void => {
    database.run(
      'DELETE FROM user_days WHERE (user, day, family) IN (SELECT user, day, family FROM user_days ORDER BY day LIMIT ?)',
      [count],
    );
    database.run('DELETE FROM user_addresses WHERE (user, day) NOT IN (SELECT user, day FROM user_days)');
  };
  const dropOldDays = (nowMs: number): void => {
    const oldest = dayOf(nowMs - keptDays * dayMs);
    database.run('DELETE FROM user_days WHERE day < ?', [oldest]);
    database.run('DELETE FROM user_addresses WHERE day < ?', [oldest]);
  };
  const inTransaction = (act: () => void): void => {
    database.exec('BEGIN IMMEDIATE');
    try {
      act();
      database.exec('COMMIT');
    } catch (error) {
      if (database.inTransaction) database.exec('ROLLBACK');
      throw error;
    }
  };

  return {
    write: (batch, addresses, nowMs, lostMs) =>
      inTransaction(() => {
        if (lostMs !== null) moveBeginning(lostMs);
        const day = dayOf(nowMs);
        writeManifests(batch.manifests);
        for (const { user, family, logins } of batch.users) {
          userDays?.run([user, day, family, logins]);
          addressCounts?.run([user, day, addresses.get(user) ?? 0]);
        }
        dropOldDays(nowMs);
        makeRoom();
      }),
    fill: () => ({ rows: countRows(), bytes: pageBytes * number('PRAGMA page_count') - otherBytes() }),
    shrink: () => {
      if (pageBytes * number('PRAGMA page_count') - otherBytes() <= maxBytes) return;
      inTransaction(makeRoom);
      database.exec('VACUUM');
    },
    close: () => {
      for (const statement of statements) statement.finalize();
    },
  };
}

/** The day in UTC, as YYYY-MM-DD. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
