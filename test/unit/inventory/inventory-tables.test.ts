import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { createVisibleRepositories } from '../../../src/inventory/repository-page.ts';
import { createOpenPolicy } from '../../../src/policy/token-grants.ts';
import { isAttachedTag } from '../../../src/registry/names/attached-tag.ts';
import { openSqlite } from '../../../src/system/sqlite.ts';
import type { UsageFile } from '../../../src/usage/usage-file.ts';
import {
  allOf,
  find,
  makeRecordFolder,
  openRecord,
  plentyOfRoom,
  pullOf,
  pushOf,
  usedTags,
  writeUses,
} from '../../support/inventory.ts';

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const visible = createVisibleRepositories(createOpenPolicy());
const list = (record: UsageFile, more = {}) => record.inventory?.list(allOf('alice', more), visible);
const names = (record: UsageFile, more = {}) => list(record, more)?.rows.map(({ name }) => name);
const tags = (record: UsageFile, repository: string) =>
  record.inventory?.tags({ repository, of: { names: usedTags } });
const tagNames = (record: UsageFile, repository: string) => tags(record, repository)?.map(({ tag }) => tag);

function open(
  t: TestContext,
  ...more: [Parameters<typeof openRecord>[1]?, Parameters<typeof openRecord>[2]?]
) {
  const file = makeRecordFolder(t);
  const record = openRecord(file, ...more);
  t.after(() => record.close());
  return record;
}

describe('the tables of the inventory', () => {
  test('a file without them gets them, and keeps its record; without the setting they go again', (t) => {
    const file = makeRecordFolder(t);
    const plain = openRecord(file, null);
    writeUses(plain, [
      pushOf('team/app', 'v1', digest('a'), 1000),
      pullOf('team/app', 'v1', digest('a'), 2000),
    ]);
    assert.equal(plain.inventory, null);
    const since = plain.since;
    plain.close();
    const versionOf = () => {
      const database = openSqlite(file, { breaksLock: true });
      const version = database.get('PRAGMA user_version')?.['user_version'];
      const count = database.get("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'tags'")?.['n'];
      database.close();
      return [version, count];
    };
    assert.deepEqual(versionOf(), [1, 0]);

    const upgraded = openRecord(file);
    assert.equal(upgraded.since, since);
    assert.equal(upgraded.references('team/app', null, 10).length, 3);
    // What the record knows of a repository is not lost to the lists.
    find(
      upgraded,
      { found: 'repositories', names: ['team/app'] },
      { found: 'tags', repository: 'team/app', names: ['v1'] },
    );
    const [row] = tags(upgraded, 'team/app') ?? [];
    assert.deepEqual([row?.pushedMs, row?.pushedBy, row?.pulledMs], [1000, 'alice', 2000]);
    assert.equal(list(upgraded)?.rows[0]?.pushedMs, 1000);
    upgraded.close();
    assert.deepEqual(versionOf(), [2, 1]);

    const again = openRecord(file, null);
    assert.equal(again.references('team/app', null, 10).length, 3);
    again.close();
    assert.deepEqual(versionOf(), [1, 0]);
  });

  test('tags that hold signatures and the like are not counted, and no others are left out', (t) => {
    const record = open(t);
    const hex = 'a0'.repeat(32);
    const attached = ['', '.sig', '.att', '.s-2'].map((end) => `sha256-${hex}${end}`);
    const others = [`sha256-${hex}0`, `sha256-${hex}.`, `sha256-${hex}.1`, `sha512-${hex}`, 'sha256-1'];
    others.push(`sha256-${hex.toUpperCase()}`, `xsha256-${hex}`, `sha256-${hex}-sig`);
    attached.push(`sha512-${hex.repeat(2)}`, `sha512-${hex.repeat(2)}.sig`);
    find(
      record,
      { found: 'repositories', names: ['team/app'] },
      { found: 'tags', repository: 'team/app', names: [...attached, ...others, 'latest'] },
      { found: 'end-of-tags', repository: 'team/app', askedMs: 0, isComplete: true },
    );
    assert.equal(list(record)?.rows[0]?.tags, others.length + 1);
    for (const tag of attached) assert.equal(isAttachedTag(tag), true, tag);
    for (const tag of others) assert.equal(isAttachedTag(tag), false, tag);
  });

  test('a push shows at once, is read first, and its answer gives the size', (t) => {
    const record = open(t);
    writeUses(record, [pushOf('team/app', 'v1', digest('a'), 5000)]);
    assert.deepEqual(names(record), ['team/app']);
    const [before] = tags(record, 'team/app') ?? [];
    assert.deepEqual([before?.digest, before?.bytes, before?.pushedBy], [digest('a'), null, 'alice']);
    assert.deepEqual(record.inventory?.next(Date.now()), {
      read: 'manifests',
      tags: [{ repository: 'team/app', tag: 'v1', digest: digest('a'), isRead: false }],
    });
    const summary = { kind: 'index', bytes: 700, platforms: ['linux/amd64', 'linux/arm64/v8'] } as const;
    const about = {
      found: 'manifest',
      repository: 'team/app',
      tag: 'v1',
      digest: digest('a'),
      summary,
    } as const;
    // An answer to a question from before the push says nothing.
    find(record, { ...about, askedMs: Date.now() - 1000 });
    assert.equal(tags(record, 'team/app')?.[0]?.bytes, null);
    find(record, { ...about, askedMs: Date.now() + 1 });
    const [after] = tags(record, 'team/app') ?? [];
    assert.deepEqual([after?.bytes, after?.kind, after?.platforms], [700, 'index', summary.platforms]);
    assert.equal(list(record)?.rows[0]?.bytes, 700);
    assert.deepEqual(record.inventory.next(Date.now()), { read: 'tags', repositories: ['team/app'] });
  });

  test('twins are named, and count once', (t) => {
    const record = open(t);
    writeUses(
      record,
      ['v1', 'latest', 'old'].map((tag) => pushOf('a', tag, digest(tag === 'old' ? 'b' : 'a'), 1)),
    );
    for (const tag of ['v1', 'latest', 'old'])
      find(record, {
        ...{ found: 'manifest', repository: 'a', tag, digest: digest(tag === 'old' ? 'b' : 'a') },
        ...{ summary: { kind: 'image', bytes: 100, platforms: [] }, askedMs: Date.now() + 1 },
      });
    assert.equal(list(record)?.rows[0]?.bytes, 200);
    assert.deepEqual(
      tags(record, 'a')?.map(({ tag, twins }) => [tag, twins]),
      [
        ['latest', ['v1']],
        ['old', []],
        ['v1', ['latest']],
      ],
    );
  });

  test('deletes of tags and digests', (t) => {
    const record = open(t);
    const of = { repository: 'a', by: null, atMs: 10 } as const;
    writeUses(
      record,
      ['v1', 'v2', 'v3', 'v4'].map((tag) => pushOf('a', tag, digest(tag < 'v3' ? 'a' : 'b'), 5)),
    );
    writeUses(record, [], [{ ...of, reference: 'v4', what: 'deleted' }]);
    assert.deepEqual(tagNames(record, 'a'), ['v1', 'v2', 'v3']);
    writeUses(record, [], [{ ...of, reference: digest('a'), what: 'deleted' }]);
    assert.deepEqual(tagNames(record, 'a'), ['v3']);
    assert.equal(list(record)?.rows[0]?.tags, 1);
    // A push that is later than the delete, and was heard of first, stays.
    writeUses(record, [pushOf('a', 'v3', digest('c'), 20)]);
    writeUses(record, [], [{ ...of, reference: 'v3', what: 'deleted' }]);
    assert.deepEqual(tagNames(record, 'a'), ['v3']);
    // Of a delete without an answer the registry has to be asked.
    writeUses(record, [], [{ ...of, atMs: 30, reference: 'v3', what: 'unknown' }]);
    assert.equal(record.inventory?.next(Date.now())?.read, 'manifests');
    find(record, { found: 'no-manifest', repository: 'a', tag: 'v3', askedMs: Date.now() + 1 });
    assert.deepEqual(tagNames(record, 'a'), []);
    find(record, { found: 'no-repository', repository: 'a', askedMs: Date.now() + 1 });
    assert.deepEqual(names(record), []);
  });

  test('a list takes away what it lacks, unless that was pushed since', (t) => {
    const record = open(t);
    find(
      record,
      { found: 'repositories', names: ['a'] },
      { found: 'tags', repository: 'a', names: ['v1', 'v2'] },
    );
    const askedMs = Date.now() + 1000;
    find(record, { found: 'end-of-tags', repository: 'a', askedMs: 0, isComplete: true });
    assert.deepEqual(tagNames(record, 'a'), ['v1', 'v2']);
    find(record, { found: 'end-of-tags', repository: 'a', askedMs, isComplete: false });
    assert.deepEqual(tagNames(record, 'a'), ['v1', 'v2']);
    find(record, { found: 'end-of-tags', repository: 'a', askedMs, isComplete: true });
    assert.deepEqual(tagNames(record, 'a'), []);
    assert.equal(list(record)?.isComplete, false);
    find(record, { found: 'end-of-catalogs', isComplete: true });
    assert.equal(list(record)?.isComplete, true);
  });

  test('sorts, searches and pages; what is not known is last', (t) => {
    const record = open(t);
    writeUses(record, [pushOf('b/one', 'v', digest('a'), 300), pushOf('a/two', 'v', digest('a'), 200)]);
    writeUses(record, [pullOf('c/three', 'v', digest('a'), 100)]);
    assert.deepEqual(names(record), ['a/two', 'b/one', 'c/three']);
    assert.deepEqual(names(record, { descending: true }), ['c/three', 'b/one', 'a/two']);
    assert.deepEqual(names(record, { sort: 'pushed' }), ['a/two', 'b/one', 'c/three']);
    assert.deepEqual(names(record, { sort: 'pushed', descending: true }), ['b/one', 'a/two', 'c/three']);
    assert.deepEqual(names(record, { sort: 'pulled' }), ['c/three', 'a/two', 'b/one']);
    assert.deepEqual(names(record, { search: 'T' }), ['a/two', 'c/three']);
    assert.deepEqual(names(record, { search: '%' }), []);

    find(record, {
      found: 'tags',
      repository: 'b/one',
      names: Array.from({ length: 120 }, (_, i) => `T${i}`),
    });
    assert.deepEqual(record.inventory?.tags({ repository: 'b/one', of: { names: ['T7', 'x'] } })?.length, 1);
    assert.equal(tags(record, 'nowhere'), null);
  });

  test('after a kill the last week is read again, after an orderly end nothing', (t) => {
    const file = makeRecordFolder(t);
    const read = (record: UsageFile) => {
      find(
        record,
        { found: 'end-of-catalogs', isComplete: true },
        { found: 'end-of-tags', repository: 'a', askedMs: 0, isComplete: true },
        {
          ...{ found: 'manifest', repository: 'a', tag: 'v1', digest: digest('a') },
          ...{ summary: { kind: 'image', bytes: 1, platforms: [] }, askedMs: Date.now() + 1 },
        },
      );
      assert.equal(record.inventory?.next(Date.now()), null);
    };
    const first = openRecord(file);
    writeUses(first, [pushOf('a', 'v1', digest('a'), Date.now())]);
    read(first);
    first.close();
    const second = openRecord(file);
    assert.equal(second.inventory?.next(Date.now()), null);
    // Another opens it as if this one were gone: its lock is broken.
    const third = openRecord(file);
    t.after(() => third.close());
    assert.deepEqual(third.inventory?.next(Date.now()), { read: 'catalogs' });
    read(third);
  });

  test('without room nothing goes, nothing comes, and the lists say that they are not complete', (t) => {
    const record = open(t, { maxRows: 1000, maxBytes: 1e9 });
    find(record, { found: 'repositories', names: Array.from({ length: 1500 }, (_, i) => `r${i}`) });
    find(record, { found: 'end-of-catalogs', isComplete: true });
    assert.equal(record.inventory?.fill().rows, 1000);
    assert.equal(list(record)?.total, 1000);
    assert.equal(list(record)?.isComplete, false);
    writeUses(record, [pushOf('new', 'v1', digest('a'), 1)]);
    assert.deepEqual(names(record, { search: 'new' }), []);
  });

  test('bytes: the lists never push out the record, and take no more than they may', (t) => {
    const maxBytes = 1024 * 1024;
    const record = open(t, { maxRows: 1e6, maxBytes }, { maxRows: 1e6, maxBytes });
    writeUses(record, [pushOf('kept', 'v1', digest('a'), 1)]);
    const { since } = record;
    for (let i = 0; i < 40; i += 1) {
      const repository = `many/${i}`;
      const own = Array.from({ length: 500 }, () => randomBytes(30).toString('hex'));
      find(record, { found: 'repositories', names: [repository] }, { found: 'tags', repository, names: own });
      writeUses(record, [pullOf('kept', `t${i}`, digest('a'), 2)]);
    }
    const { bytes = Infinity } = record.inventory?.fill() ?? {};
    assert.ok(bytes > maxBytes * 0.9 && bytes < maxBytes * 1.2, `${bytes} bytes`);
    assert.equal(record.references('kept', null, 100).length, 43);
    assert.equal(record.since, since);
    assert.equal(list(record)?.isComplete, false);
  });

  test('counts its bytes alike before and after it was closed', (t) => {
    const file = makeRecordFolder(t);
    const first = openRecord(file);
    for (let i = 0; i < 20; i += 1)
      writeUses(
        first,
        Array.from({ length: 100 }, (_, j) => pushOf(`r${i}`, `tag${j}`, digest('a'), j)),
      );
    writeUses(
      first,
      [],
      [{ repository: 'r3', reference: digest('a'), what: 'deleted', by: null, atMs: 1000 }],
    );
    const before = first.inventory?.fill();
    first.close();
    const second = openRecord(file, plentyOfRoom);
    t.after(() => second.close());
    assert.deepEqual(second.inventory?.fill(), before);
    assert.equal(before?.rows, 20 + 1900);
  });
});
