import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { writeTombstone } from '../../../src/registry/tombstone.ts';
import { createRemovalJournal, type Removal } from '../../../src/pipeline/tag-delete/removal-journal.ts';

const tombstoneOf = (digit: string) => {
  const text = writeTombstone(digit.repeat(40));
  return { digest: `sha256:${hash('sha256', text)}`, body: Buffer.from(text) };
};
const removal = (digit: string): Removal => ({
  registry: 'http://registry:5000',
  repository: 'team/app',
  tag: `t${digit}`,
  tombstone: tombstoneOf(digit),
});

test('removals are listed until they are forgotten, the oldest first, and nothing else is', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-journal-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const folder = path.join(dir, 'state/removals');
  const journal = createRemovalJournal(folder);
  assert.deepEqual(await journal.list(), []);
  assert.equal(await journal.has(removal('1').tombstone.digest), false);

  await journal.note(removal('1'));
  await journal.note(removal('2'));
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  const [first] = await readdir(folder);
  assert.equal((await stat(path.join(folder, first ?? ''))).mode & 0o777, 0o600);
  for (const [name, text] of [
    [`${'3'.repeat(64)}.json`, '{"torn'],
    [`${'4'.repeat(64)}.json.new`, '{}'],
    ['other.json', '{}'],
  ] as const)
    await writeFile(path.join(folder, name), text);

  const another = createRemovalJournal(folder);
  const listed = await another.list();
  assert.deepEqual(
    listed.map(({ ageMs, ...noted }) => (assert.ok(ageMs > -1000 && ageMs < 60_000), noted)),
    [removal('1'), removal('2')],
  );
  await another.forget(removal('1').tombstone.digest);
  await journal.forget(removal('1').tombstone.digest);
  assert.deepEqual(
    (await journal.list()).map(({ tag }) => tag),
    ['t2'],
  );
  assert.equal(await another.has(removal('2').tombstone.digest), true);
});

test('a folder that cannot be written is an error, before anything is done', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-journal-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'file');
  await writeFile(file, '');
  await assert.rejects(createRemovalJournal(path.join(file, 'removals')).note(removal('1')));
});

test('a note that is about no tombstone, or no tag, is none', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-journal-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const journal = createRemovalJournal(dir);
  const { registry, repository, tag, tombstone } = removal('1');
  const image = '{"schemaVersion":2}';
  const body = tombstone.body.toString();
  for (const note of [
    { digest: `sha256:${hash('sha256', image)}`, body: image },
    { digest: `sha256:${'a'.repeat(64)}` },
    { repository: '../team' },
    { tag: '../t1' },
  ]) {
    const text = JSON.stringify({ registry, repository, tag, digest: tombstone.digest, body, ...note });
    await writeFile(path.join(dir, `${tombstone.digest.slice(7)}.json`), text);
    assert.deepEqual(await journal.list(), [], text);
  }
});
