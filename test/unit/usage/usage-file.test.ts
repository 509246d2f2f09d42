import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import type { ManifestUse, UsageBatch, UserUse } from '../../../src/usage/usage-buffer.ts';
import { askUsage } from '../../../src/usage/usage-client.ts';
import { openSqlite } from '../../../src/system/sqlite.ts';
import { BrokenRecordError, openUsageFile, type UsageFile } from '../../../src/usage/usage-file.ts';

const noon = Date.parse('2026-11-29T12:00:00Z');
const dayMs = 24 * 60 * 60 * 1000;
const pull = (repository: string, reference: string, atMs = noon, by = 'alice'): ManifestUse => ({
  ...{ repository, reference, digest: null },
  ...{ pulls: 1, pulledMs: atMs, pulledBy: by, pushes: 0, pushedMs: null, pushedBy: null },
});
const batchOf = (manifests: readonly ManifestUse[], users: readonly UserUse[] = []): UsageBatch => ({
  manifests,
  users,
  changes: [],
  dropped: 0,
});
const login = (user: string): UserUse => ({ user, family: 'docker', logins: 1, addresses: [] });

describe('the file of the record', () => {
  let folder: string;
  let file: string;
  const opened: UsageFile[] = [];
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tidegate-usage-'));
    file = path.join(folder, 'usage.db');
  });
  afterEach(() => {
    for (const each of opened.splice(0)) each.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const open = (maxRows = 1e6, maxBytes = 1e9) => {
    const options = { breaksLock: false, limits: { maxRows, maxBytes }, sinceMs: noon };
    const record = openUsageFile(file, options);
    opened.push(record);
    return record;
  };
  const close = (record: UsageFile) => {
    opened.splice(opened.indexOf(record), 1);
    record.close();
  };
  const tagsOf = (record: UsageFile, repository: string) =>
    record.references(repository, null, 10_000).map(({ name }) => name);

  test('adds up, and keeps the latest', () => {
    const record = open();
    record.write(batchOf([pull('a', 'v1', noon, 'bob')]), new Map(), noon);
    record.write(batchOf([pull('a', 'v1', noon - 1000, 'late')]), new Map(), noon);
    const [whole, tag] = record.references('a', null, 10);
    assert.deepEqual(whole?.pulls, { at: noon, by: 'bob', count: 2 });
    assert.deepEqual(tag?.pulls, { at: noon, by: 'bob', count: 2 });
    assert.deepEqual(tag.pushes, { at: null, by: null, count: 0 });
  });

  test('keeps its beginning', () => {
    const first = open();
    close(first);
    assert.equal(openUsageFileLater(file).since, noon);
  });

  test('lets the rows go that were used longest ago, and not the days of users that are younger', () => {
    const record = open(1000);
    const old = Array.from({ length: 300 }, (_, i) => pull('old', `t${i}`, noon - 3 * dayMs + i));
    record.write(batchOf(old, [login('alice')]), new Map([['alice', 2]]), noon);
    record.write(batchOf(Array.from({ length: 900 }, (_, i) => pull('new', `t${i}`))), new Map(), noon);
    assert.ok(record.fill().rows <= 1000);
    assert.equal(tagsOf(record, 'new').length, 901);
    const kept = tagsOf(record, 'old');
    assert.ok(kept.includes('t299') && !kept.includes('t0'), `${kept.length} kept`);
    assert.deepEqual(record.userDays({ user: '', day: '', family: '' }, 10), [
      { user: 'alice', day: '2026-11-29', family: 'docker', logins: 1, addresses: 2 },
    ]);
  });

  test('says from when on nothing is missing: after the last use that had to go, and after uses that were lost', () => {
    const record = openUsageFile(file, {
      ...{ breaksLock: false, limits: { maxRows: 1000, maxBytes: 1e9 }, sinceMs: noon - 30 * dayMs },
    });
    opened.push(record);
    const old = Array.from({ length: 300 }, (_, i) => pull('old', `t${i}`, noon - 3 * dayMs + i));
    record.write(batchOf(old), new Map(), noon);
    assert.equal(record.since, noon - 30 * dayMs);
    record.write(batchOf(Array.from({ length: 900 }, (_, i) => pull('new', `t${i}`))), new Map(), noon);
    const kept = record.references('old', null, 1000).filter(({ name }) => name !== '');
    const oldest = Math.min(...kept.map(({ pulls }) => pulls.at ?? 0));
    assert.equal(record.since, oldest);
    record.write(batchOf([]), new Map(), noon, noon - 1000);
    assert.equal(record.since, noon - 1000);
    record.write(batchOf([]), new Map(), noon, null);
    close(record);
    assert.equal(openUsageFileLater(file).since, noon - 1000);
  });

  for (const [what, make] of [
    ['a FIFO', (at: string) => void execFileSync('mkfifo', [at])],
    ['a link', (at: string) => symlinkSync('/dev/null', at)],
    ['a folder', (at: string) => mkdirSync(at)],
  ] as const)
    test(`does not open ${what} in its place, nor set it aside`, async () => {
      make(file);
      assert.throws(
        () => open(),
        (error) => !(error instanceof BrokenRecordError),
      );
      // Nor does a reader, who may be root.
      const stateDir = path.join(folder, 'state');
      mkdirSync(path.join(stateDir, 'usage'), { recursive: true });
      make(path.join(stateDir, 'usage/usage.db'));
      await assert.rejects(askUsage(stateDir, { ask: 'repositories' }), OperatorError);
    });

  test('lets old days of users go first where they are older', () => {
    const record = open(1000);
    const users = Array.from({ length: 400 }, (_, i) => login(`user${i}`));
    record.write(batchOf([], users), new Map(), noon - 2 * dayMs);
    record.write(batchOf(Array.from({ length: 500 }, (_, i) => pull('new', `t${i}`))), new Map(), noon);
    assert.ok(record.fill().rows <= 1000);
    assert.equal(tagsOf(record, 'new').length, 501);
  });

  test('does not keep the days of users for longer than a month', () => {
    const record = open();
    record.write(batchOf([], [login('alice')]), new Map(), noon - 40 * dayMs);
    record.write(batchOf([], [login('bob')]), new Map(), noon);
    assert.deepEqual(
      record.userDays({ user: '', day: '', family: '' }, 10).map(({ user }) => user),
      ['bob'],
    );
  });

  test('stays within its bytes, also when they are fewer than before', () => {
    const large = open();
    for (let i = 0; i < 10; i += 1)
      large.write(
        batchOf(
          Array.from({ length: 2000 }, (_, k) => pull(`repository/${i}`, `${'t'.repeat(100)}${k}`, noon + i)),
        ),
        new Map(),
        noon,
      );
    close(large);
    assert.ok(statSync(file).size > 2 ** 21);
    const small = open(1e6, 2 ** 20);
    assert.ok(small.fill().bytes <= 2 ** 20, `${small.fill().bytes} bytes`);
    assert.deepEqual(tagsOf(small, 'repository/0'), []);
    for (let i = 0; i < 5; i += 1)
      small.write(
        batchOf(Array.from({ length: 2000 }, (_, k) => pull('b', `${i}-${k}`))),
        new Map(),
        noon + i,
      );
    assert.ok(small.fill().bytes <= 2 ** 21, `${small.fill().bytes} bytes`);
    close(small);
    assert.ok(statSync(file).size <= 2 ** 21);
  });

  for (const spoil of [
    "UPDATE manifests SET pulled = 'soon'",
    'UPDATE manifests SET pulled = 9000000000000000000',
    'UPDATE manifests SET pulls = 1e300',
    "UPDATE manifests SET pulled_by = x'1b5b'",
    'UPDATE record SET since = 9000000000000000',
  ])
    test(`says that it is broken after ${spoil}`, async () => {
      const stateDir = path.join(folder, 'state');
      file = path.join(stateDir, 'usage/usage.db');
      mkdirSync(path.dirname(file), { recursive: true });
      const record = open();
      record.write(batchOf([pull('a', 'v1')]), new Map(), noon);
      close(record);
      const database = openSqlite(file, { breaksLock: false });
      database.exec(spoil);
      database.close();
      await assert.rejects(
        askUsage(stateDir, { ask: 'references', repository: 'a' }),
        (error) =>
          error instanceof OperatorError &&
          /cannot be read: (a row of it holds|it does not say)/.test(error.message),
      );
    });

  test('takes nothing else for a record', () => {
    writeFileSync(file, Buffer.alloc(10_000, 'x'));
    assert.throws(() => open(), BrokenRecordError);
  });

  test('does not open what is open', () => {
    open();
    assert.throws(() => open(), /database is locked/);
  });

  function openUsageFileLater(at: string): UsageFile {
    const limits = { maxRows: 1000, maxBytes: 1e9 };
    const record = openUsageFile(at, { breaksLock: false, limits, sinceMs: noon + dayMs });
    opened.push(record);
    return record;
  }
});
