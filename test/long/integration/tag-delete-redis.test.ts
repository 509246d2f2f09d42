import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { createDirectClient, deleteTagsUnderPushes } from '../../support/delete-history.ts';
import { startFrontDoor } from '../../support/front-door.ts';
import { imageType, makeImage, pushConfig, pushManifest } from '../../support/manifest-registry.ts';
import { startRedis, until, type RedisServer } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { untilGone, workerPids } from '../../support/workers.ts';
import { startSteppedRegistry, type SteppedRegistry } from '../../support/stepped-registry.ts';

const accepting = { headers: { Accept: imageType } };
const image = makeImage('shared');
const repository = 'team/shared';
const pathOf = (reference: string) => `/v2/${repository}/manifests/${reference}`;
const patientMs = 60_000;

describe(
  'tags that two instances with one Redis delete',
  { skip: unlessInstalled('docker-registry', 'redis-server'), timeout: 550_000 },
  () => {
    let registry: Registry;
    let stepped: SteppedRegistry;
    let redis: RedisServer;
    let direct: CacheClient;
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
      stepped = await startSteppedRegistry(registry.url);
      redis = await startRedis();
      direct = createDirectClient(registry.url);
      await pushConfig(direct, repository);
    });
    after(async () => {
      direct.close();
      await stepped.close();
      await redis.stop();
      await registry.stop();
    });

    /** Starts an instance with a folder of its own for its state. */
    const open = async (t: TestContext, dir?: string) => {
      const stateDir = dir ?? (await mkdtemp(path.join(tmpdir(), 'tidegate-state-')));
      const door = await startFrontDoor({
        upstreamUrl: stepped.url,
        set: [
          ...[`state.dir=${stateDir}`, 'log.audit=false', 'workers=2', 'limits.deleteWait=30s'],
          ...['cache.driver=redis', `cache.redis.url=redis://${redis.address}`],
          'cache.redis.instanceTimeout=12s',
        ],
      });
      const client = createCacheClient(door);
      t.after(async () => {
        client.close();
        await door.stop();
        await rm(stateDir, { recursive: true, force: true });
      });
      const noted = () => readdir(path.join(stateDir, 'removals')).catch(() => []);
      const untilFinished = () =>
        until('nothing is noted', async () => (await noted()).length === 0, patientMs);
      return { door, client, stateDir, noted, untilFinished };
    };
    const pushTags = async () => {
      for (const tag of ['gone', 'twin'])
        assert.equal((await pushManifest(direct, pathOf(tag), image)).status, 201);
    };
    const listTags = async () => {
      const { body } = await direct.ask('GET', `/v2/${repository}/tags/list`);
      return (JSON.parse(body.toString()) as { tags: string[] }).tags;
    };
    /** Acts once when the registry has moved a tag to a tombstone, and has not said so. */
    const whenMoved = (act: () => Promise<void> | void) => {
      stepped.onStep = async ({ method, target, at }) => {
        if (method !== 'PUT' || at !== 'answer' || target !== pathOf('gone')) return;
        stepped.onStep = () => {};
        await act();
      };
    };
    const status = async (client: CacheClient, reference: string) =>
      (await client.ask('GET', pathOf(reference), accepting)).status;

    test('beside pushes through both, none that was acknowledged is lost', async (t) => {
      const [one, other] = [await open(t), await open(t)];
      const losses = await deleteTagsUnderPushes([one.client, other.client], repository, 4);
      t.diagnostic(JSON.stringify(losses));
      assert.ok(losses.removed > 0);
      assert.equal(losses.lost, 0);
    });

    test('kill -9 of one in the middle: to the other the tag is not there, and the first finishes it', async (t) => {
      await pushTags();
      const [one, other] = [await open(t), await open(t)];
      const pids = [one.door.pid, ...(await workerPids(one.door))];
      whenMoved(async () => {
        for (const pid of pids) process.kill(pid, 'SIGKILL');
        await Promise.all(pids.map((pid) => untilGone(pid)));
      });
      await assert.rejects(one.client.ask('DELETE', pathOf('gone')));
      assert.equal(await status(direct, 'gone'), 404); // an index, which it does not accept
      await until(
        'the repository is free again',
        async () => (await status(other.client, 'twin')) === 200,
        patientMs,
      );
      assert.equal(await status(other.client, 'gone'), 404);
      assert.deepEqual(await one.noted().then(({ length }) => length), 1);
      const again = await open(t, one.stateDir);
      await again.untilFinished();
      assert.deepEqual(await listTags().then((tags) => tags.filter((tag) => /^[gt][ow]/.test(tag))), [
        'twin',
      ]);
      assert.equal(await status(other.client, 'twin'), 200);
    });

    test('Redis dies in the middle: the delete is cut off, and finished when Redis is back', async (t) => {
      await pushTags();
      const { client, untilFinished } = await open(t);
      let release = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      whenMoved(async () => {
        await redis.kill();
        await released;
      });
      await assert.rejects(client.ask('DELETE', pathOf('gone')));
      release();
      await redis.start();
      await untilFinished();
      assert.equal(await status(client, 'gone'), 404);
      assert.equal(await status(client, 'twin'), 200);
      assert.ok(!(await listTags()).includes('gone'));
    });
  },
);
