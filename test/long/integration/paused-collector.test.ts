import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { collectPaused, type CollectResult } from '../../../src/clean/paused/collect-paused.ts';
import { digestOf } from '../../support/cache-load.ts';
import { startRestarter, writeCollector, type Restarter } from '../../support/collectors.ts';
import { createDirectDoors, type DirectDoors } from '../../support/direct-doors.ts';
import { startDriverRegistry, type DriverRegistry } from '../../support/driver-registry.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const hour = 3_600_000;
const ociManifest = 'application/vnd.oci.image.manifest.v1+json';

describe("the registry's own collector, under a pause", { skip: unlessInstalled('docker-registry') }, () => {
  let dir: string;
  let registry: DriverRegistry;
  let restarter: Restarter;
  let doors: DirectDoors;
  const logged: string[] = [];
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-paused-'));
    restarter = await startRestarter(() => registry.restart());
  });
  after(async () => {
    restarter.close();
    await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    const rootdirectory = await mkdtemp(path.join(dir, 'storage-'));
    registry = await startDriverRegistry({ driver: { filesystem: { rootdirectory } } });
    doors = createDirectDoors(registry.url, hour);
    restarter.count = 0;
    logged.length = 0;
  });
  afterEach(() => registry.stop());

  const ask = (
    method: string,
    target: string,
    body?: Uint8Array<ArrayBuffer>,
    type = 'application/octet-stream',
  ) =>
    fetch(new URL(target, registry.url), {
      method,
      ...(body && { body, headers: { 'Content-Type': type } }),
    });
  const status = async (method: string, target: string) => (await ask(method, target)).status;
  const pushBlob = async (bytes = new Uint8Array(randomBytes(5000))): Promise<string> => {
    const digest = digestOf(Buffer.from(bytes));
    const begun = await ask('POST', '/v2/app/blobs/uploads/');
    const done = await ask('PUT', `${begun.headers.get('location')}&digest=${digest}`, bytes);
    assert.equal(done.status, 201);
    return digest;
  };
  const pushImage = async (tag: string) => {
    const [config, layer] = [await pushBlob(), await pushBlob()];
    const manifest = {
      ...{ schemaVersion: 2, mediaType: ociManifest },
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: 5000, digest: config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', size: 5000, digest: layer }],
    };
    const bytes = new TextEncoder().encode(JSON.stringify(manifest));
    assert.equal((await ask('PUT', `/v2/app/manifests/${tag}`, bytes, ociManifest)).status, 201);
    return { config, layer };
  };
  const blobStatus = (digest: string) => status('HEAD', `/v2/app/blobs/${digest}`);

  const collect = (more: Partial<Parameters<typeof collectPaused>[0]> = {}): Promise<CollectResult> =>
    collectPaused({
      ...{ doors, restart: restarter.command, maxPauseMs: 60_000 },
      collector: ['docker-registry', 'garbage-collect', registry.configPath],
      logger: {
        info: () => {},
        warn: () => {},
        error: (...args: unknown[]) => logged.push(JSON.stringify(args)),
      },
      onProgress: () => {},
      signal: new AbortController().signal,
      now: () => Date.now(),
      ...more,
    });
  const misbehaving = (script: string) => writeCollector(dir, registry.configPath, script);

  it('takes what no manifest names, and nothing else', async () => {
    const image = await pushImage('1');
    const orphan = await pushBlob();
    const result = await collect();
    assert.deepEqual({ ...result, pausedMs: 0 }, { kind: 'collected', blobs: 1, pausedMs: 0 });
    assert.deepEqual(doors.said, ['paused', 'resumed']);
    assert.equal(restarter.count, 1);
    assert.equal(await blobStatus(orphan), 404);
    assert.equal(await blobStatus(image.config), 200);
    assert.equal(await blobStatus(image.layer), 200);
  });

  it('pauses nothing when there is nothing to take', async () => {
    await pushImage('1');
    assert.deepEqual(await collect(), { kind: 'nothing' });
    assert.deepEqual(doors.said, []);
  });

  it('waits for the grace of what would go, before the pause and in it', async () => {
    const orphan = await pushBlob();
    const answeredMs = Date.now() - 1000;
    doors.leases.set(orphan, answeredMs);
    const early = await collect();
    assert.deepEqual(early, {
      kind: 'postponed',
      why: '1 blob that would go was pushed, pulled or asked for within clean.grace',
      untilMs: answeredMs + hour,
    });
    assert.deepEqual(doors.said, []);
    doors.leases.clear();
    const { pause } = doors;
    const paused: DirectDoors = {
      ...doors,
      pause: (maxMs) => {
        doors.leases.set(orphan, answeredMs);
        return pause(maxMs);
      },
    };
    assert.equal((await collect({ doors: paused })).kind, 'postponed');
    assert.deepEqual(doors.said, ['paused', 'resumed']);
    assert.equal(await blobStatus(orphan), 200);
  });

  it('takes nothing with a collector of another storage', async () => {
    const orphan = await pushBlob();
    const other = await startDriverRegistry({ driver: { filesystem: { rootdirectory: `${dir}/other` } } });
    try {
      const elsewhere = createDirectDoors(other.url);
      await assert.rejects(collect({ doors: elsewhere }), /does its configuration name the storage/);
      assert.deepEqual(elsewhere.said, ['paused', 'resumed']);
    } finally {
      await other.stop();
    }
    assert.equal(await blobStatus(orphan), 200);
  });

  for (const [what, script, says] of [
    ['hangs', 'sleep 1000', /did not end within 4 s \(clean.maxPause\) and was killed/],
    ['fails', 'echo no such bucket >&2; exit 3', /ended with code 3. It said: no such bucket/],
    ['is killed', 'kill -9 $$', /was killed or could not be started/],
  ] as const)
    it(`resumes when the collector ${what}`, async () => {
      const orphan = await pushBlob();
      const collector = await misbehaving(script);
      await assert.rejects(collect({ collector, maxPauseMs: 4000 }), says);
      assert.deepEqual(doors.said, ['paused', 'resumed']);
      assert.equal(restarter.count, 1);
      assert.equal(await blobStatus(orphan), 200);
    });

  it('says so when the collector is not there', async () => {
    const collector = [path.join(dir, 'nothing'), 'garbage-collect', registry.configPath];
    await assert.rejects(collect({ collector }), /could not be started. It said: spawn .* ENOENT/);
    assert.deepEqual(doors.said, []);
  });

  it('kills the collector, with all that it has started, when a front door is lost', async () => {
    const pids = path.join(dir, 'lost-pids');
    await pushBlob();
    const collector = await misbehaving(`sleep 1000 & echo $$ $! >${pids}; wait`);
    const collecting = collect({ collector });
    const running = await readPids(pids);
    doors.lose();
    await assert.rejects(collecting, /a front door is silent/);
    await until('the collector is gone', () => Promise.resolve(!running.some(isAlive)));
    assert.equal(restarter.count, 1);
  });

  it('kills the collector and restarts the registry when the cleaner is killed', async () => {
    const pids = path.join(dir, 'killed-pids');
    await pushBlob();
    const collector = await misbehaving(`sleep 1000 & echo $$ $! >${pids}; wait`);
    const program = fileURLToPath(new URL('../../support/paused-cleaner.js', import.meta.url));
    const { command: restart } = restarter;
    const options = JSON.stringify({ dir: null, url: registry.url, collector, restart, maxPauseMs: 60_000 });
    const cleaner = spawn(process.execPath, [program, options], { stdio: 'inherit' });
    const running = await readPids(pids);
    assert.deepEqual(running.filter(isAlive), running);
    cleaner.kill('SIGKILL');
    await until('the collector is gone', () => Promise.resolve(!running.some(isAlive)));
    await until('the registry was restarted', () => Promise.resolve(restarter.count === 1));
  });

  it('holds writes while a registry that was not restarted remembers what is gone', async () => {
    const orphan = await pushBlob();
    const collecting = collect({ restart: [] });
    await until('it complains', () => Promise.resolve(logged.length > 0));
    assert.match(logged.join(), /the registry still has a blob that its collector took/);
    assert.deepEqual(doors.said, ['paused']);
    // What the pause is for: this would be a push without data.
    assert.equal(await blobStatus(orphan), 200);
    await registry.restart();
    assert.equal((await collecting).kind, 'collected');
    assert.deepEqual(doors.said, ['paused', 'resumed']);
    assert.equal(await blobStatus(orphan), 404);
  });

  const readPids = async (file: string): Promise<number[]> => {
    let text = '';
    await until('the collector runs', async () => {
      text = await readFile(file, 'utf8').catch(() => '');
      return text.endsWith('\n');
    });
    return text.trim().split(' ').map(Number);
  };
  const isAlive = (pid: number): boolean => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };
});
