import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { createTakenManifests } from '../../../src/leases/taken-manifests.ts';

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const folder = await mkdtemp(join(tmpdir(), 'tidegate-taken-'));
after(() => rm(folder, { recursive: true }));

async function openStorage(name: string, { isCleaned = false } = {}): Promise<string> {
  const storage = join(folder, name);
  await mkdir(isCleaned ? join(storage, 'tidegate-clean') : storage, { recursive: true });
  return storage;
}

test('before anything is told, any manifest may have been taken where a clean-up has its folder, and else none', async () => {
  const fresh = createTakenManifests(await openStorage('fresh'));
  assert.equal(await fresh.mayHave(digestOf('a')), false);
  const cleaned = createTakenManifests(await openStorage('cleaned', { isCleaned: true }));
  assert.equal(await cleaned.mayHave(digestOf('a')), true);
  cleaned.add([digestOf('b')], false);
  assert.equal(await cleaned.mayHave(digestOf('a')), true);
  cleaned.add([], true);
  assert.equal(await cleaned.mayHave(digestOf('a')), false);
  assert.equal(await cleaned.mayHave(digestOf('b')), true);
});

test('a clean-up that begins later is seen', async () => {
  const storage = await openStorage('later');
  const taken = createTakenManifests(storage);
  assert.equal(await taken.mayHave(digestOf('a')), false);
  await mkdir(join(storage, 'tidegate-clean'));
  assert.equal(await taken.mayHave(digestOf('a')), true);
});

test('a storage that is not there says nothing', async () => {
  assert.equal(await createTakenManifests(join(folder, 'unmounted')).mayHave(digestOf('a')), true);
});

test('every manifest that was told is known, however many they are, and hardly any other', async () => {
  const storage = await openStorage('many', { isCleaned: true });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string()), fc.array(fc.string()), async (told, others) => {
      const taken = createTakenManifests(storage);
      taken.add(told.map(digestOf), true);
      for (const text of told) assert.equal(await taken.mayHave(digestOf(text)), true);
      for (const text of others) assert.equal(await taken.mayHave(digestOf(text)), told.includes(text));
    }),
  );
});

test('a taken manifest of an unknown kind of digest could be any', async () => {
  const taken = createTakenManifests(await openStorage('odd'));
  taken.add([`sha512:${'0'.repeat(128)}`], true);
  assert.equal(await taken.mayHave(digestOf('a')), true);
});
