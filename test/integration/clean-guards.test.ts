import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { DoorLock, Doors } from '../../src/clean/channel/doors.ts';
import { openCleanFolder } from '../../src/clean/quarantine/clean-folder.ts';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { dataPath, layerPath } from '../../src/clean/quarantine/item.ts';
import { openQuarantine } from '../../src/clean/quarantine/quarantine.ts';
import { beforeLock, tellNothing, tellOther } from '../support/altered-doors.ts';
import { createCacheClient } from '../support/cache-client.ts';
import {
  ageStorage,
  digestOf,
  imageOf,
  imageType,
  startCleanedRegistry,
  type CleanedRegistry,
} from '../support/cleaned-registry.ts';
import { pushBlob } from '../support/delete-history.ts';
import { startRegistry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hourMs = 3_600_000;

describe('the guards of a run', { skip: unlessInstalled('docker-registry'), timeout: 480_000 }, () => {
  let registry: CleanedRegistry;
  before(async () => (registry = await startCleanedRegistry({ remembersBlobs: true })));
  after(() => registry.stop());

  test('guard 2: a tag that moves to a manifest between plan and lock keeps it', async () => {
    const old = await registry.push('retag', 'v1', ['config r1', 'layer r1']);
    await registry.push('retag', 'v2', ['config r2', 'layer r2']);
    const { doors } = registry.cleaner;
    const summary = await registry.run({
      doors: beforeLock(doors, 'retag', () => registry.retag('retag', 'v3', old.body)),
    });
    assert.equal(summary.taken.manifests, 0);
    assert.equal(await registry.pull('retag', 'v3'), null);
  });

  test('guard 5: when front doors do not tell of such a push, it is found on disk, and the run ends', async () => {
    const old = await registry.push('silent', 'v1', ['config s1', 'layer s1']);
    await registry.push('silent', 'v2', ['config s2', 'layer s2']);
    const { doors } = registry.cleaner;
    await assert.rejects(
      registry.run({
        doors: beforeLock(tellNothing(doors), 'silent', () => registry.retag('silent', 'v3', old.body)),
      }),
      /written to around the front doors/,
    );
    assert.equal(await registry.pull('silent', 'v3'), null);
  });

  test('guard 3: with one link left, the registry says that data is there which was taken', async () => {
    const image = await registry.push('order', 'v1', ['config o1', 'layer o1']);
    const [, layer = ''] = image.layers;
    // What a run without the order would do.
    const quarantine = await openQuarantine(registry.folder, { version: 'test', nowMs: Date.now() });
    const item = { what: 'data', digest: layer, bytes: 8 } as const;
    const [number = -1] = await quarantine.intend([item]);
    await quarantine.move(item);
    quarantine.tell(number, item, 'taken');
    await quarantine.end('done', null, Date.now());
    assert.equal((await registry.client.ask('HEAD', `/v2/order/blobs/${layer}`)).status, 200, 'the hole');
    await registry.undo(quarantine.run);
    assert.equal(await registry.pull('order', 'v1'), null);
  });

  test('guard 3: data that is linked again between the reading of links and the lock stays', async () => {
    await registry.push('link-a', 'v1', ['config l1', 'layer l1']);
    await registry.push('link-a', 'v2', ['config l2', 'layer l2']);
    const layer = digestOf('layer l1');
    const { doors } = registry.cleaner;
    await registry.run({
      doors: beforeLock(doors, layer, () => registry.push('link-b', 'v1', ['config of b', 'layer l1'])),
    });
    assert.ok(registry.hasData(layer));
    assert.equal(await registry.pull('link-b', 'v1'), null);
  });

  test('guard 5: what was pushed since the lock was lost, while the cleaner was stopped, is put back', async () => {
    await registry.push('stopped', 'v1', ['config p1', 'layer p1']);
    await registry.push('stopped', 'v2', ['config p2', 'layer p2']);
    const { cleaner, folder } = registry;
    const data = path.join(registry.root, dataPath(digestOf('layer p1')));
    let lock: DoorLock | null = null;
    const rename = async (from: string, to: string) => {
      // As if the process went on only when the front door had released it.
      if (from === data) {
        await lock?.release();
        await registry.push('stopped', 'v3', ['config p3', 'layer p1']);
      }
      await disk.rename(from, to);
    };
    await assert.rejects(
      registry.run({
        doors: {
          ...cleaner.doors,
          lock: async (keys, waitMs) => (lock = await cleaner.doors.lock(keys, waitMs)),
        },
        folder: { ...folder, disk: { ...disk, rename } },
      }),
      /A lock was lost/,
    );
    assert.equal(await registry.pull('stopped', 'v3'), null);
  });

  test('guard 3: a link that no front door told of ends the run before its data is taken', async () => {
    await registry.push('link-c', 'v1', ['config c1', 'layer c1']);
    await registry.push('link-c', 'v2', ['config c2', 'layer c2']);
    const layer = digestOf('layer c1');
    const { doors } = registry.cleaner;
    const run = registry.run({
      doors: beforeLock(doors, layer, () => {
        const link = path.join(registry.root, layerPath('link-d', layer));
        mkdirSync(path.dirname(link), { recursive: true });
        writeFileSync(link, layer);
        return Promise.resolve();
      }),
    });
    await assert.rejects(run, /around the front doors/);
    assert.ok(registry.hasData(layer));
  });

  test('guard 7: a manifest that cannot be read keeps everything in its repository', async () => {
    const old = await registry.push('fault', 'v1', ['config f1', 'layer f1']);
    const other = await registry.push('fault', 'v2', ['config f2', 'layer f2']);
    truncateSync(path.join(registry.root, dataPath(other.digest), 'data'), 10);
    const summary = await registry.run();
    assert.equal(summary.taken.manifests, 0);
    assert.equal(await registry.pull('fault', 'v1'), null);
    assert.ok(registry.hasData(old.digest));
  });

  test('guard 7: an empty link keeps what its name says', async () => {
    await registry.push('empty', 'v1', ['config e1', 'layer e1']);
    await registry.push('empty', 'v2', ['config e2', 'layer e2']);
    const layer = digestOf('layer e1');
    truncateSync(path.join(registry.root, layerPath('empty', layer)), 0);
    await registry.run();
    assert.ok(registry.hasData(layer));
  });
});

describe('leases', { skip: unlessInstalled('docker-registry'), timeout: 360_000 }, () => {
  let registry: CleanedRegistry;
  let old: { layers: readonly string[] };
  beforeEach(async () => {
    registry = await startCleanedRegistry({ graceMs: hourMs });
    old = await registry.push('app', 'v1', ['config 1', 'layer 1']);
    await registry.push('app', 'v2', ['config 2', 'layer 2']);
    ageStorage(registry.root, 2 * hourMs);
  });
  afterEach(() => registry.stop());
  const pushAgain = async () => {
    const client = createCacheClient(registry.door);
    try {
      await pushBlob(client, 'app', 'config 3');
      return await client.ask('PUT', '/v2/app/manifests/v3', {
        headers: { 'Content-Type': imageType },
        body: imageOf(['config 3', 'layer 1']),
      });
    } finally {
      client.close();
    }
  };
  const layer = digestOf('layer 1');
  /** Only what was answered about the layer counts, as if all else had been long ago. */
  const onlyLayer = (doors: Doors): Doors => ({
    ...tellOther(doors),
    evidence: async (question) => {
      const evidence = await doors.evidence(question);
      const leases = evidence.leases.map((ms, i) => (question.digests?.[i] === layer ? ms : 0));
      return { ...evidence, leasesSince: 0, leases };
    },
  });

  test('guard 4: a layer that a client was told of stays, and the push that relies on it is taken', async () => {
    assert.deepEqual(old.layers[1], layer);
    assert.equal((await registry.client.ask('HEAD', `/v2/app/blobs/${layer}`)).status, 200);
    const summary = await registry.run({ doors: onlyLayer(registry.cleaner.doors) });
    assert.equal(summary.taken.manifests, 1);
    assert.equal((await pushAgain()).status, 201);
    assert.equal(await registry.pull('app', 'v3'), null);
  });

  test('guard 4: without it that push is refused', async () => {
    const { doors } = registry.cleaner;
    const forgetful = tellOther(doors, ({ leases }) => ({ leases: leases.map(() => 0) }));
    assert.equal((await registry.client.ask('HEAD', `/v2/app/blobs/${layer}`)).status, 200);
    await registry.run({ doors: forgetful });
    assert.equal((await pushAgain()).status, 400, 'the hole');
  });

  test('guard 4: a front door that lost its leases lets nothing be taken', async () => {
    await assert.rejects(registry.run(), /Nothing is taken before/);
  });
});

describe('guard 6', { skip: unlessInstalled('docker-registry'), timeout: 360_000 }, () => {
  let registry: CleanedRegistry;
  before(async () => (registry = await startCleanedRegistry()));
  after(() => registry.stop());

  test('a run refuses a storage that is not the one of the registry', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
    try {
      for (const name of ['repositories', 'blobs/sha256'])
        mkdirSync(path.join(dir, 'docker/registry/v2', name), { recursive: true });
      const folder = await openCleanFolder(dir, disk);
      await assert.rejects(registry.run({ folder }), /does not come to .* \(upstream.storage\)/);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test('a run leaves nothing of its probe', async () => {
    await registry.run();
    assert.deepEqual(registry.listData(), []);
    assert.deepEqual(readdirSync(path.join(registry.root, 'docker/registry/v2/repositories')), []);
  });

  test('a run refuses a registry that allows no deletes, and a mirror', async () => {
    for (const [options, expected] of [
      [{ deletes: false }, /allows no deletes/],
      [{ proxy: { remoteurl: registry.registry.url } }, /is a mirror/],
    ] as const) {
      const other = await startRegistry(options);
      const cleaned = await startCleanedRegistry({ registry: other });
      try {
        await assert.rejects(cleaned.run(), expected);
      } finally {
        await cleaned.stop();
      }
    }
  });

  test('a run refuses a storage that two registries have', async () => {
    const second = await startRegistry({ storageDir: registry.root });
    try {
      await assert.rejects(registry.run(), /2 registries on this machine/);
    } finally {
      await second.stop();
    }
  });
});
