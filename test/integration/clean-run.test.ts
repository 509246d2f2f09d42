import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { layerPath } from '../../src/clean/quarantine/item.ts';
import { readRuns } from '../../src/clean/quarantine/run-record.ts';
import { digestOf, startCleanedRegistry, type CleanedRegistry } from '../support/cleaned-registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

for (const remembersBlobs of [false, true])
  describe(
    `a run before docker-registry ${remembersBlobs ? 'that remembers blobs' : 'without a cache of blobs'}`,
    { skip: unlessInstalled('docker-registry'), timeout: 480_000 },
    () => {
      let registry: CleanedRegistry;
      before(async () => (registry = await startCleanedRegistry({ remembersBlobs })));
      after(() => registry.stop());

      test('takes what the rules retire, leaves the rest whole, and undo brings it back', async () => {
        const old = await registry.push('app', 'v1', ['config 1', 'shared', 'layer 1']);
        const kept = await registry.push('app', 'v2', ['config 2', 'shared', 'layer 2']);
        assert.equal(await registry.pull('app', 'v1'), null);
        const summary = await registry.run();
        assert.equal(summary.result, 'done');
        assert.deepEqual(summary.left, []);
        const { tags, manifests, layers, blobs } = summary.taken;
        assert.deepEqual({ tags, manifests, layers, blobs }, { tags: 1, manifests: 1, layers: 2, blobs: 3 });
        assert.deepEqual(registry.listData(), [kept.digest, ...kept.layers].sort());
        assert.equal(await registry.pull('app', 'v2'), null);
        assert.equal(await registry.pull('app', 'v1'), 'manifest v1: 404');
        assert.equal(await registry.pull('app', old.digest), `manifest ${old.digest}: 404`);

        const undone = await registry.undo(summary.run ?? '');
        assert.equal(undone.impossibleCount, 0);
        assert.equal(await registry.pull('app', 'v1'), null);
        assert.equal(await registry.pull('app', 'v2'), null);

        const again = await registry.run();
        assert.equal(again.taken.tags, 0, 'what was brought back is safe');
        assert.equal(await registry.pull('app', 'v1'), null);
      });

      test('finds nothing to do, and begins no run', async () => {
        await registry.run({ newest: 9 });
        const before = await readRuns(registry.folder);
        const summary = await registry.run({ newest: 9 });
        assert.equal(summary.run, null);
        assert.deepEqual(await readRuns(registry.folder), before);
      });

      test('a manifest that was taken can be pushed again, and pulls whole', async () => {
        const layers = ['config again', 'layer again'];
        const { body, digest } = await registry.push('again', 'v1', layers);
        await registry.push('again', 'v2', ['config other', 'layer other']);
        const { taken } = await registry.run();
        assert.equal(taken.tags, 1);
        assert.ok(!registry.hasData(digest));
        assert.deepEqual((await registry.push('again', 'v3', layers)).body, body);
        assert.equal(await registry.pull('again', 'v3'), null);
      });

      test('a manifest that is a blob of an image too: a registry may delete one of its links, and keep the other', async () => {
        await registry.run();
        const old = await registry.push('both', 'v1', ['config b1', 'layer b1']);
        await registry.push('both', 'v2', ['config b2', 'layer b2']);
        await registry.push('both', 'v3', ['config b3', 'layer b3']);
        const link = path.join(registry.root, layerPath('both', old.digest));
        const linkAsBlob = () => {
          mkdirSync(path.dirname(link), { recursive: true });
          writeFileSync(link, old.digest);
        };
        linkAsBlob();
        // As distribution 3 does: 2.8 deletes both.
        const { doors } = registry.cleaner;
        const keeping: typeof doors = {
          ...doors,
          lock: async (keys, waitMs) => {
            const lock = await doors.lock(keys, waitMs);
            if (lock === null) return null;
            const deleteAtRegistry = lock.deleteManifest.bind(lock);
            return Object.assign(lock, {
              deleteManifest: async (repository: string, digest: string) => {
                const status = await deleteAtRegistry(repository, digest);
                if (digest === old.digest) linkAsBlob();
                await setTimeout(100); // so slow that each has a lock of its own, and a look at what was written
                return status;
              },
            });
          },
        };
        const { result, taken } = await registry.run({ doors: keeping });
        assert.deepEqual([result, taken.tags, taken.manifests, taken.layers], ['done', 2, 2, 5]);
        assert.ok(!registry.hasData(old.digest));
        assert.equal(await registry.pull('both', 'v3'), null);
      });

      test('a write around the front doors ends the run', async () => {
        await registry.push('around', 'v1', ['config a1', 'layer a1']);
        await registry.push('around', 'v2', ['config a2', 'layer a2']);
        const { doors } = registry.cleaner;
        const stray = digestOf('stray');
        const around: typeof doors = {
          ...doors,
          lock: async (keys, waitMs) => {
            const link = path.join(registry.root, layerPath('around', stray));
            if (keys.includes('around')) {
              mkdirSync(path.dirname(link), { recursive: true });
              writeFileSync(link, stray);
            }
            return doors.lock(keys, waitMs);
          },
        };
        await assert.rejects(registry.run({ doors: around }), /written to around the front doors/);
        assert.equal(await registry.pull('around', 'v1'), null);
        // Runs of the same second have no order.
        const failed = (await readRuns(registry.folder)).filter(({ result }) => result === 'failed');
        assert.equal(failed.length, 1);
      });
    },
  );
