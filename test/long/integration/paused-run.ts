import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runPaused, type PausedRun } from '../../../src/clean/paused/paused-run.ts';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { digestOf, ociManifest } from '../../support/cache-load.ts';
import { startRestarter, untilWritten, writeCollector, type Restarter } from '../../support/collectors.ts';
import {
  s3Driver,
  startDriverRegistry,
  swiftDriver,
  type DriverRegistry,
  type StorageDriver,
} from '../../support/driver-registry.ts';
import type { FrontDoor } from '../../support/front-door.ts';
import { openObjectStore, type ObjectStore } from '../../support/object-store.ts';
import { run } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startTestCleaner, testGraceMs, type TestCleaner } from '../../support/test-cleaner.ts';

const skip = unlessInstalled('docker-registry', 'curl');
const opened = skip === false ? await openObjectStore() : skip;
const store = opened as ObjectStore;
after(async () => {
  if (typeof opened !== 'string') await store.stop();
});

const layerBytes = 300_000;
type Pushed = { readonly tag: string; readonly digest: string; readonly blobs: readonly string[] };

const storages: {
  name: string;
  skip: string | false;
  driver: (dir: string) => StorageDriver;
  bytes: (dir: string) => Promise<number>;
}[] = [
  {
    name: 'a folder',
    skip,
    driver: (rootdirectory) => ({ filesystem: { rootdirectory } }),
    bytes: async (dir) =>
      Number((await run('du', ['-sb', `${dir}/docker/registry/v2/blobs`])).stdout.split('\t')[0]),
  },
  {
    name: 'Swift',
    skip: typeof opened === 'string' && opened,
    driver: () => swiftDriver(store, 'run-swift'),
    bytes: () => store.countBytes('run-swift'),
  },
  {
    name: 'S3',
    skip: typeof opened === 'string' && opened,
    driver: () => s3Driver(store, 'run-s3'),
    bytes: () => store.countBytes('run-s3'),
  },
];

/** Tries the paused mode with images in this storage; a file each, since it takes minutes. */
export function testPausedRun(name: 'a folder' | 'Swift' | 'S3'): void {
  const storage = storages.find((each) => each.name === name);
  if (storage === undefined) throw new Error(`there is no storage ${name}`);
  describe(
    `the paused mode, with images in ${storage.name}`,
    { skip: storage.skip, timeout: 550_000 },
    () => {
      let dir: string;
      let registry: DriverRegistry;
      let restarter: Restarter;
      let cleaner: TestCleaner & { readonly dir: string };
      let isDead = false;
      let door: FrontDoor;
      let http: CacheClient;
      before(async () => {
        dir = await mkdtemp(path.join(tmpdir(), 'tidegate-paused-'));
        if (storage.name === 'S3') await store.createContainer('run-s3');
        registry = await startDriverRegistry({ driver: storage.driver(dir) });
        restarter = await startRestarter(() => registry.restart());
        cleaner = await startTestCleaner();
        await startDoor();
        await cleaner.untilConnected();
      });
      after(async () => {
        http.close();
        await door.stop();
        if (!isDead) await cleaner.close();
        await rm(cleaner.dir, { recursive: true, force: true });
        restarter.close();
        await registry.stop();
        await rm(dir, { recursive: true, force: true });
      });

      const startDoor = async () => {
        door = await cleaner.startDoor(registry.url, [
          ...['workers=2', 'log.audit=false', 'upstream.storage=', 'cache.tagTtl=1h'],
          `clean.collector=${JSON.stringify(collector())}`,
        ]);
        http = createCacheClient(door);
      };
      const collector = () => ['docker-registry', 'garbage-collect', registry.configPath];
      const ask = (method: string, target: string, body?: Buffer, type = 'application/octet-stream') =>
        http.ask(method, target, {
          ...(body && { body }),
          headers: { 'Content-Type': type, Accept: ociManifest },
        });
      /** A push that gives up at the first answer that is not the right one. */
      const pushBlob = async (bytes: Buffer): Promise<string | null> => {
        const digest = digestOf(bytes);
        const known = await ask('HEAD', `/v2/app/blobs/${digest}`);
        if (known.status === 200) return digest;
        const begun = await ask('POST', '/v2/app/blobs/uploads/');
        if (begun.status !== 202) return null;
        const place = new URL(begun.header('Location'), 'https://registry.example');
        place.searchParams.set('digest', digest);
        const done = await ask('PUT', `${place.pathname}${place.search}`, bytes);
        return done.status === 201 ? digest : null;
      };
      const push = async (tag: string, layer: Buffer = randomBytes(layerBytes)): Promise<Pushed | null> => {
        const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', tag }));
        const blobs = [await pushBlob(config), await pushBlob(layer)];
        const [configDigest, layerDigest] = blobs;
        if (!configDigest || !layerDigest) return null;
        const manifest = Buffer.from(
          JSON.stringify({
            ...{ schemaVersion: 2, mediaType: ociManifest },
            config: {
              mediaType: 'application/vnd.oci.image.config.v1+json',
              size: config.length,
              digest: configDigest,
            },
            layers: [
              {
                mediaType: 'application/vnd.oci.image.layer.v1.tar',
                size: layer.length,
                digest: layerDigest,
              },
            ],
          }),
        );
        const done = await ask('PUT', `/v2/app/manifests/${tag}`, manifest, ociManifest);
        return done.status === 201
          ? { tag, digest: digestOf(manifest), blobs: [configDigest, layerDigest] }
          : null;
      };
      const mustPush = async (tag: string, layer?: Buffer) =>
        (await push(tag, layer)) ?? assert.fail(`${tag} was not pushed`);
      const assertWhole = async ({ tag, digest, blobs }: Pushed) => {
        const manifest = await ask('GET', `/v2/app/manifests/${tag}`);
        assert.deepEqual([manifest.status, digestOf(manifest.body)], [200, digest], tag);
        for (const blob of blobs) {
          const answer = await ask('GET', `/v2/app/blobs/${blob}`);
          assert.deepEqual([answer.status, digestOf(answer.body)], [200, blob], tag);
        }
      };
      const remove = async ({ digest }: Pushed) =>
        assert.equal((await ask('DELETE', `/v2/app/manifests/${digest}`)).status, 202);

      const clean = (more: Partial<Parameters<typeof runPaused>[0]> = {}): Promise<PausedRun> =>
        runPaused({
          doors: cleaner.doors,
          ...{ collector: collector(), restart: restarter.command, maxPauseMs: 180_000 },
          clean: { rules: [], grace: testGraceMs, untagged: 0 },
          immutableTags: [],
          untagged: new Map(),
          writeUntagged: () => Promise.resolve(),
          logger: { info: () => {}, warn: () => {}, error: () => {} },
          onProgress: () => {},
          signal: new AbortController().signal,
          // Nothing was used lately.
          now: () => Date.now() + 2 * testGraceMs,
          ...more,
        });

      const listPushes = async (start: string): Promise<number[]> => {
        const found: number[] = [];
        for await (const { rows } of cleaner.doors.usage({ ask: 'references', repository: 'app' }))
          for (const { name, pushes } of rows)
            if (name.startsWith(start) && pushes.at !== null) found.push(pushes.at);
        return found;
      };

      it('takes nothing that was lately used', async () => {
        await assert.rejects(clean({ now: () => Date.now() }), /Nothing is taken before /);
      });

      it('frees the space of what is gone', async () => {
        const kept = await mustPush('stays');
        for (let i = 0; i < 4; i++) await remove(await mustPush(`goes-${i}`));
        const before = await storage.bytes(dir);
        const { blobs, pausedMs } = await clean();
        // Of each image its configuration, its layer and the manifest.
        assert.equal(blobs, 12);
        assert.notEqual(pausedMs, null);
        const left = await storage.bytes(dir);
        assert.ok(
          left < before - 4 * layerBytes && left > layerBytes,
          `${before} bytes before, ${left} left`,
        );
        await assertWhole(kept);
      });

      it('loses nothing that is pushed meanwhile', async () => {
        const kept = [await mustPush('kept-1'), await mustPush('kept-2')];
        const layers = Array.from({ length: 4 }, () => randomBytes(layerBytes));
        for (const [i, layer] of layers.entries()) await remove(await mustPush(`gone-${i}`, layer));
        let isOver = false;
        const pushed: Pushed[] = [...kept];
        const statuses: number[] = [];
        // Pushes new layers, and those that are about to be taken.
        const pusher = async (name: string) => {
          for (let i = 0; !isOver || i < 3; i++) {
            const layer = i % 3 === 0 ? layers[i % layers.length] : randomBytes(20_000);
            // The restart of the registry cuts off what goes through it.
            const done = await push(`${name}-${i}`, layer).catch(() => null);
            if (done !== null) pushed.push(done);
            else await wait(20);
          }
        };
        const puller = async () => {
          while (!isOver) {
            for (const { tag, blobs } of kept) {
              for (const target of [`manifests/${tag}`, `blobs/${blobs[1] ?? ''}`])
                statuses.push(
                  await ask('GET', `/v2/app/${target}`).then(
                    ({ status }) => status,
                    () => 0,
                  ),
                );
            }
            await wait(5);
          }
        };
        const works = [pusher('a'), pusher('b'), puller()];
        // What the pushers do keeps some blobs in use, so that a run may find its moment only later.
        let blobs = 0;
        for (let tries = 0; tries < 3; tries++) blobs += (await clean()).blobs;
        isOver = true;
        await Promise.all(works);
        assert.ok(restarter.count > 0);
        assert.ok(pushed.length > kept.length + 4, `${pushed.length} pushes`);
        const reread = createCacheClient(door);
        for (const each of pushed) await assertWhole(each);
        reread.close();
        assert.ok(statuses.filter((status) => status === 200).length > statuses.length / 2);
        assert.ok(blobs > 0);
      });

      it('lets pulls go on in the pause, while writes wait, and are refused after clean.maxPause', async () => {
        const image = await mustPush('waits');
        await remove(await mustPush('waits-gone'));
        const go = path.join(dir, 'go');
        const cleaning = clean({
          collector: await writeCollector(dir, registry.configPath, `echo $$ >${go}; sleep 1000`),
          // A look alone takes seconds where much else runs, and a run that would take longer than half a pause is refused.
          maxPauseMs: storage.name === 'a folder' ? 20_000 : 90_000,
        });
        const refused = assert.rejects(cleaning, /did not end within .* and was killed/);
        await untilWritten(go);
        let isHeld = true;
        const held = ask('POST', '/v2/app/blobs/uploads/').finally(() => (isHeld = false));
        await assertWhole(image);
        assert.ok(isHeld, 'pulls do not wait');
        const { status, header } = await held;
        if (status === 503) assert.equal(header('Retry-After'), '30');
        else assert.equal(status, 202);
        await refused;
        await mustPush('waits-after');
        await assertWhole(image);
      });

      it('removes each tag that goes, also where its manifest waits', async () => {
        const pushed = [await mustPush('old-1'), await mustPush('old-2'), await mustPush('old-3')];
        const asked = await mustPush('old-asked');
        const rules = [{ repositories: ['app'], tags: ['old-*'], keep: { pushedWithin: 1000 } }];
        const run = () =>
          clean({
            clean: { rules, grace: testGraceMs, untagged: null },
            // As if only this one had been asked for.
            doors: {
              ...cleaner.doors,
              evidence: async (question) => {
                const evidence = await cleaner.doors.evidence(question);
                const leases = (question.digests ?? []).map((digest) =>
                  digest === asked.digest ? Date.now() + 2 * testGraceMs : 0,
                );
                return { ...evidence, leases };
              },
            },
          });
        // Not one in each run; the second is for what a slow storage wrote late.
        const first = await run();
        const tags = first.left.length === 0 ? first.tags : first.tags + (await run()).tags;
        assert.equal(tags, pushed.length);
        await assertWhole(asked);
        for (const { tag, digest } of pushed) {
          assert.equal((await ask('GET', `/v2/app/manifests/${tag}`)).status, 404);
          assert.equal((await ask('GET', `/v2/app/manifests/${digest}`)).status, 200);
        }
      });

      // The rest does not depend on the storage.
      if (storage.name !== 'a folder') return;

      it('retires what the rules say, and frees its space', async () => {
        const old = await mustPush('rule-1');
        const twin = await mustPush('rule-2');
        const manifest = await ask('GET', '/v2/app/manifests/rule-2');
        const { status } = await ask('PUT', '/v2/app/manifests/twin', manifest.body, ociManifest);
        assert.equal(status, 201);
        const newest = await mustPush('rule-3');
        // Those that are not in the record yet are equally new.
        await until('their pushes are recorded', async () => (await listPushes('rule-')).length === 3);
        const before = await storage.bytes(dir);
        const rules = [{ repositories: ['app'], tags: ['rule-*'], keep: { newest: 1 } }];
        const run = await clean({ clean: { rules, grace: testGraceMs, untagged: 0 } });
        assert.deepEqual([run.tags, run.left], [2, []]);
        // Also the manifest by which a tag is taken from docker-registry 2.8.
        assert.ok(run.blobs >= 3, `${run.blobs} blobs`);
        assert.ok((await storage.bytes(dir)) < before - layerBytes);
        for (const tag of ['rule-1', 'rule-2'])
          assert.equal((await ask('GET', `/v2/app/manifests/${tag}`)).status, 404, tag);
        assert.equal((await ask('GET', `/v2/app/manifests/${old.digest}`)).status, 404);
        for (const blob of old.blobs)
          assert.equal((await ask('GET', `/v2/app/blobs/${blob}`)).status, 404, blob);
        await assertWhole(newest);
        // The twin's manifest stays, and its blobs.
        await assertWhole({ ...twin, tag: 'twin' });
      });

      it('holds writes of a front door that is started again in the pause, until the collector has ended', async () => {
        const layer = randomBytes(layerBytes);
        await remove(await mustPush('restarted-gone', layer));
        const [go, release] = [path.join(dir, 'restarted-go'), path.join(dir, 'restarted-release')];
        const waiting = await writeCollector(
          dir,
          registry.configPath,
          `docker-registry "$@"; echo $$ >${go}\nwhile [ ! -e ${release} ]; do sleep 0.1; done`,
        );
        // It ends as it should, or is killed since no front door was there for too long.
        const cleaning = clean({ collector: waiting }).catch((error: unknown) => error);
        const pid = await untilWritten(go);
        const isAlive = () => {
          try {
            return process.kill(pid, 0);
          } catch {
            return false;
          }
        };
        const isBack = () =>
          cleaner.log.filter(({ message }) => message === 'a front door is connected').length > before;
        const before = cleaner.log.filter(({ message }) => message === 'a front door is connected').length;
        http.close();
        await door.stop();
        await startDoor();
        const held = ask('POST', '/v2/app/blobs/uploads/').then(({ status }) => ({
          status,
          whileCollecting: isAlive(),
        }));
        await until('the cleaner knows it', isBack, 30_000);
        await writeFile(release, '');
        assert.deepEqual(await held, { status: 202, whileCollecting: false });
        await cleaning;
        await assertWhole(await mustPush('restarted-again', layer));
      });

      it('goes on after the cleaner was killed in the pause', async () => {
        const layer = randomBytes(layerBytes);
        await remove(await mustPush('killed-gone', layer));
        cleaner.die();
        isDead = true;
        const go = path.join(dir, 'killed-go');
        const hanging = await writeCollector(
          dir,
          registry.configPath,
          `docker-registry "$@"; echo $$ >${go}; sleep 1000`,
        );
        const program = fileURLToPath(new URL('../../support/paused-cleaner.js', import.meta.url));
        const options = {
          dir: cleaner.dir,
          url: registry.url,
          collector: hanging,
          restart: restarter.command,
          maxPauseMs: 60_000,
        };
        const before = restarter.count;
        const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: 'inherit' });
        const pid = await untilWritten(go);
        // What it took is still remembered: without a restart this would be a push without data.
        const pushing = push('killed-again', layer);
        child.kill('SIGKILL');
        const pushed = (await pushing) ?? (await mustPush('killed-again', layer));
        assert.equal(restarter.count, before + 1);
        assert.throws(() => process.kill(pid, 0));
        await assertWhole(pushed);
      });
    },
  );
}
