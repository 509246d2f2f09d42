import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { DoorLock } from '../../src/clean/channel/doors.ts';
import { listenOn } from '../../src/system/unix-socket.ts';
import { findAdmin, watched } from '../support/admin.ts';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import type { FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { imageType, makeImage } from '../support/manifest-registry.ts';
import { startRedis, until, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';
import { startTestCleaner, type TestCleaner } from '../support/test-cleaner.ts';
import { untilGone, workerPids } from '../support/workers.ts';

const image = makeImage('one');
const manifestPath = (repository: string) => `/v2/${repository}/manifests/v1`;

for (const workers of [1, 2])
  describe(`a cleaner and a front door of ${workers}`, { timeout: 360_000 }, () => {
    let upstream: Registry;
    let cleaner: TestCleaner;
    let door: FrontDoor;
    let client: CacheClient;
    before(async () => {
      upstream = await startRegistry();
      cleaner = await startTestCleaner();
      door = await cleaner.startDoor(upstream.url, [`workers=${workers}`, 'log.audit=false']);
      client = createCacheClient(door);
      await cleaner.untilConnected();
    });
    after(async () => {
      client.close();
      await door.stop();
      await cleaner.close();
      await upstream.close();
    });
    const lock = async (...keys: string[]): Promise<DoorLock> =>
      (await cleaner.doors.lock(keys, 2000)) ?? assert.fail('it was not reached');
    const push = (repository: string) =>
      client.ask('PUT', manifestPath(repository), {
        headers: { 'Content-Type': imageType },
        body: image.body,
      });

    test('the cleaner knows who it is', async () => {
      const { doors, leasesSince, graceMs } = await cleaner.doors.check();
      assert.deepEqual(
        doors.map(({ pid }) => pid),
        [door.pid],
      );
      assert.equal(graceMs, 3_600_000);
      assert.ok(leasesSince <= Date.now());
    });

    test('a lock holds pushes and reads, and lets them go on', async () => {
      const held = await lock('held');
      const asked = [push('held'), client.ask('HEAD', manifestPath('held'))];
      assert.equal((await push('other')).status, 201);
      assert.deepEqual(upstream.seen('/held/'), []);
      await held.release();
      assert.deepEqual(
        (await Promise.all(asked)).map(({ status }) => status),
        [201, 200],
      );
    });

    test('a lock that is not reached in time is none', async () => {
      upstream.holds('/busy/');
      const pushed = push('busy');
      await until('the registry has it', () => upstream.held.length === 1);
      assert.equal(await cleaner.doors.lock(['busy']), null);
      upstream.letGo();
      assert.equal((await pushed).status, 201);
      await (await lock('busy')).release();
    });

    test('it ends cached answers', async () => {
      const headers = { Accept: imageType };
      const ask = async () =>
        (await client.ask('GET', manifestPath('cached'), { headers })).header('X-Cache');
      await until('every worker has it', async () => {
        const answers = await Promise.all(Array.from({ length: 8 }, ask));
        return answers.every((answer) => answer === 'HIT');
      });
      const held = await lock('cached');
      const asked = Array.from({ length: 8 }, ask);
      assert.equal((await cleaner.doors.evidence({ lock: held })).held, true);
      const seen = upstream.seen('/cached/').length;
      await held.release();
      assert.ok((await Promise.all(asked)).includes('MISS'));
      assert.ok(upstream.seen('/cached/').length > seen);
    });

    test('a lock is sure after evidence, and not for long, nor after its release', async () => {
      const held = await lock('sure');
      assert.equal(held.isSure(), false);
      await cleaner.doors.evidence({ lock: held });
      assert.equal(held.isSure(), true);
      await until('it is too long ago', () => !held.isSure());
      assert.equal((await cleaner.doors.evidence({ lock: held })).held, true);
      await held.release();
      assert.equal(held.isSure(), false);
      assert.equal((await cleaner.doors.evidence({ lock: held })).held, false);
    });

    test('deletes go to the registry, under a lock of their repository only', async () => {
      const held = await lock('deleted', image.digest);
      assert.equal(await held.deleteManifest('deleted', image.digest), 202);
      assert.equal(await held.deleteBlob('deleted', image.digest), 202);
      assert.deepEqual(upstream.seen('/deleted/'), [
        `DELETE /v2/deleted/manifests/${image.digest} HTTP/1.1`,
        `DELETE /v2/deleted/blobs/${image.digest} HTTP/1.1`,
      ]);
      await assert.rejects(held.deleteManifest('another', image.digest), { name: 'DoorsError' });
      await assert.rejects(held.deleteManifest('deleted', 'v1'), { name: 'DoorsError' });
      await held.release();
      await assert.rejects(held.deleteManifest('deleted', image.digest), /the lock is lost/);
      assert.equal(upstream.seen('/another/').length, 0);
    });

    test('what a client was told is there has a lease, and a push is counted', async () => {
      const blob = (text: string) => makeImage(text).digest;
      const [headed, mounted, committed] = [blob('headed'), blob('mounted'), blob('committed')] as const;
      const digests = [headed, mounted, committed, image.digest, blob('never')];
      const question = { repositories: ['leased', 'unwritten'], digests };
      const before = await cleaner.doors.evidence(question);
      const askedAtMs = Date.now();
      const statuses = [
        await client.ask('HEAD', `/v2/leased/blobs/${headed}`),
        await client.ask('POST', `/v2/leased/blobs/uploads/?mount=${mounted}&from=source`),
        await client.ask('PUT', `/v2/leased/blobs/uploads/1?digest=${committed}`, { body: 'committed' }),
        await client.ask('GET', manifestPath('leased'), { headers: { Accept: imageType } }),
        await client.ask('GET', manifestPath('leased'), { headers: { Accept: imageType } }),
      ].map(({ status }) => status);
      assert.deepEqual(statuses, [200, 201, 201, 200, 200]);
      const later = await cleaner.doors.evidence(question);
      assert.equal(later.epoch, before.epoch);
      assert.deepEqual(
        later.leases.map((lease) => lease >= askedAtMs),
        [true, true, true, true, false],
      );
      assert.deepEqual(
        later.writes.map((count, i) => count !== before.writes[i]),
        [true, false],
      );
      assert.deepEqual(
        later.digestWrites.map((count, i) => count !== before.digestWrites[i]),
        [false, true, true, false, false],
      );
    });

    test('a lock of a digest holds it in every repository', async () => {
      const held = await lock(image.digest);
      const asked = client.ask('HEAD', `/v2/anywhere/manifests/${image.digest}`);
      assert.equal((await client.ask('HEAD', manifestPath('anywhere'))).status, 200);
      assert.equal(upstream.seen(`/anywhere/manifests/${image.digest}`).length, 0);
      await held.release();
      assert.equal((await asked).status, 200);
    });

    test('a request goes to the registry, and its answer comes back whole', async () => {
      const { status, bodyBase64 } = await cleaner.doors.request({
        method: 'GET',
        rawTarget: '/v2/asked/manifests/v1',
        headers: { Accept: imageType },
        maxBytes: 10_000,
      });
      assert.deepEqual([status, Buffer.from(bodyBase64, 'base64').toString()], [200, image.body]);
      await assert.rejects(
        cleaner.doors.request({
          method: 'GET',
          rawTarget: '/v2/asked/manifests/v1',
          headers: {},
          maxBytes: 10,
        }),
        /more than 10 bytes/,
      );
    });

    test('what was recorded of pulls is told', async () => {
      await until('a pull is in the record', async () => {
        await client.ask('GET', manifestPath('pulled'));
        for await (const { rows } of cleaner.doors.usage({ ask: 'repositories' }))
          if (rows.some(({ name }) => name === 'pulled')) return true;
        return false;
      });
    });
  });

describe('a front door of two workers', { timeout: 360_000 }, () => {
  test('begins its leases anew when a worker dies', async () => {
    const upstream = await startRegistry();
    const cleaner = await startTestCleaner();
    const door = await cleaner.startDoor(upstream.url, ['workers=2']);
    await cleaner.untilConnected();
    const before = await cleaner.doors.evidence({});
    const [pid = 0] = await workerPids(door);
    const killedAtMs = Date.now();
    process.kill(pid, 'SIGKILL');
    await untilGone(pid);
    await until('it is back', () => isComplete(cleaner), 20_000);
    const later = await cleaner.doors.evidence({});
    assert.notEqual(later.epoch, before.epoch);
    assert.ok(later.leasesSince >= killedAtMs);
    await door.stop();
    await cleaner.close();
    await upstream.close();
  });
});

describe('a cleaner that goes', { timeout: 360_000 }, () => {
  let upstream: Registry;
  before(async () => {
    upstream = await startRegistry();
  });
  after(() => upstream.close());

  for (const how of ['dies', 'hangs'] as const)
    test(`releases its locks when it ${how}`, async () => {
      const cleaner = await startTestCleaner({ hangs: how === 'hangs' });
      const door = await cleaner.startDoor(upstream.url);
      const client = createCacheClient(door);
      await cleaner.untilConnected();
      const held = (await cleaner.doors.lock(['left'], 2000)) ?? assert.fail();
      const asked = client.ask('HEAD', manifestPath('left'));
      if (how === 'dies') cleaner.die();
      assert.equal((await asked).status, 200);
      assert.equal(held.isSure(), false);
      if (how === 'hangs')
        await door.logged(({ msg }) => msg === 'the cleaner hangs and holds a lock: it is released');
      client.close();
      await door.stop();
      await cleaner.close();
    });

  test('is found again, and a front door that signs off is not waited for', async () => {
    const cleaner = await startTestCleaner();
    const door = await cleaner.startDoor(upstream.url);
    await cleaner.untilConnected();
    cleaner.die();
    const { dir } = cleaner;
    await door.logged(({ msg }) => msg === 'the cleaner is gone');
    const next = await startTestCleaner({ dir });
    await assert.rejects(next.doors.check(), /has vanished without signing off/);
    await next.untilConnected();
    await next.doors.check();
    await door.stop();
    await assert.rejects(next.doors.check(), /No front door is connected/);
    const second = await next.startDoor(upstream.url);
    await next.untilConnected(2);
    const { leasesSince } = await next.doors.check();
    assert.ok(leasesSince <= Date.now());
    second.process.kill('SIGKILL');
    await until('it is missed', () => isRefused(next, 'has vanished'));
    await next.close();
    await cleaner.close();
    await second.stop();
  });

  test('is not needed: whoever talks nonsense on its socket is cut off, and pulls go on', async () => {
    const cleaner = await startTestCleaner();
    cleaner.die();
    await rm(cleaner.socketPath, { force: true });
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await listenOn(server, cleaner.socketPath);
    const door = await cleaner.startDoor(upstream.url);
    const client = createCacheClient(door);
    await door.logged(({ msg }) => msg === 'the cleaner broke the rules of the channel');
    assert.equal((await client.ask('HEAD', manifestPath('any'))).status, 200);
    client.close();
    await door.stop();
    server.close();
    await cleaner.close();
  });

  test('is in the metrics, and a run that failed is in an alert', async () => {
    const cleaner = await startTestCleaner();
    const door = await cleaner.startDoor(upstream.url, [...watched, 'workers=2']);
    const admin = await findAdmin(door);
    await cleaner.untilConnected();
    const metric = async (name: string) => (await admin.metrics()).get(`tidegate_clean_${name}`);
    await until('it is connected', async () => (await metric('connected')) === 1);
    assert.equal(await metric('running'), undefined);
    const lastRun = { endedAt: 1_700_000_000_000, tags: 1, manifests: 2, blobs: 3, bytes: 4 };
    const status = { running: true, quarantinedBytes: 5, freeBytes: 6, failures: 7 };
    cleaner.doors.publishStatus({
      ...status,
      lastRun: { ...lastRun, result: 'failed', why: 'The disk is full.' },
    });
    await door.logged(({ msg, alert }) => alert === 'clean-failed' && msg.endsWith('The disk is full.'));
    const names = ['running', 'failures_total', 'quarantined_bytes', 'free_bytes'];
    const ofRun = ['timestamp_seconds', 'success', 'bytes'].map((name) => `last_run_${name}`);
    const values = await Promise.all([...names, ...ofRun].map(metric));
    assert.deepEqual(values, [1, 7, 5, 6, 1_700_000_000, 0, 4]);
    cleaner.doors.publishStatus({ ...status, lastRun: { ...lastRun, result: 'done', why: null } });
    await door.logged(({ alert, state }) => alert === 'clean-failed' && state === 'resolved');
    cleaner.die();
    await until('it is gone', async () => (await metric('connected')) === 0);
    await door.stop();
    await cleaner.close();
  });
});

describe('two front doors', { timeout: 360_000, skip: unlessInstalled('redis-server') }, () => {
  let upstream: Registry;
  let redis: RedisServer;
  before(async () => {
    upstream = await startRegistry();
    redis = await startRedis();
  });
  after(async () => {
    await redis.stop();
    await upstream.close();
  });

  test('that share a Redis are locked as one, and one that is not connected is missed', async () => {
    const cleaner = await startTestCleaner();
    const settings = [
      'cache.driver=redis',
      `cache.redis.url=redis://${redis.address}`,
      'cache.redis.timeout=1s',
    ];
    const doors = await Promise.all([
      cleaner.startDoor(upstream.url, [...settings, 'workers=2']),
      cleaner.startDoor(upstream.url, settings),
    ]);
    const clients = doors.map((door) => createCacheClient(door));
    await cleaner.untilConnected(2);
    await until('they know each other', () => isComplete(cleaner), 20_000);
    const held = await lockSoon(cleaner, ['app', image.digest]);
    const asked = clients.map((client) => client.ask('HEAD', manifestPath('app')));
    assert.ok((await cleaner.doors.evidence({ lock: held })).held);
    assert.deepEqual(upstream.seen('/app/'), []);
    await held.release();
    for (const { status } of await Promise.all(asked)) assert.equal(status, 200);
    const digests = [image.digest, makeImage('never').digest];
    const { leases } = await cleaner.doors.evidence({ digests });
    assert.deepEqual(
      leases.map((lease) => lease > 0),
      [true, false],
    );

    const stranger = await cleaner.startDoor(upstream.url, [...settings, 'clean.socket=/nowhere/clean.sock']);
    await until('it is missed', () => isRefused(cleaner, 'is not connected to this cleaner'));
    for (const client of clients) client.close();
    await Promise.all([...doors, stranger].map((door) => door.stop()));
    await cleaner.close();
  });

  test('that share none are refused', async () => {
    const cleaner = await startTestCleaner();
    const doors = await Promise.all([cleaner.startDoor(upstream.url), cleaner.startDoor(upstream.url)]);
    await cleaner.untilConnected(2);
    await assert.rejects(cleaner.doors.check(), /shares no Redis/);
    await Promise.all(doors.map((door) => door.stop()));
    await cleaner.close();
  });
});

async function isRefused({ doors }: TestCleaner, why: string): Promise<boolean> {
  try {
    await doors.check();
    return false;
  } catch (error) {
    return (error as Error).message.includes(why);
  }
}

async function isComplete({ doors }: TestCleaner): Promise<boolean> {
  return doors.check().then(
    () => true,
    () => false,
  );
}

/** Instances that have just met need a moment. */
async function lockSoon({ doors }: TestCleaner, keys: readonly string[]): Promise<DoorLock> {
  for (let tries = 0; tries < 50; tries += 1) {
    const held = await doors.lock(keys, 1000);
    if (held !== null) return held;
  }
  return assert.fail('it was not reached');
}

/** A registry that says yes to everything, at once or when it is let. */
type Registry = Pick<ScriptedUpstream, 'url' | 'close'> & {
  /** The first lines of the requests with this in them. */
  seen(part: string): string[];
  /** Keeps those with this in their path waiting. */
  holds(part: string): void;
  readonly held: readonly UpstreamRequest[];
  letGo(): void;
};

async function startRegistry(): Promise<Registry> {
  const held: UpstreamRequest[] = [];
  let heldPart = 'none';
  const answer = (request: UpstreamRequest) => {
    const { startLine } = request;
    if (startLine.startsWith('DELETE')) request.answer(head('HTTP/1.1 202 Accepted', 'Content-Length: 0'));
    else if (startLine.startsWith('PUT') || startLine.includes('mount='))
      request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    else
      request.answer(
        head(
          'HTTP/1.1 200 OK',
          `Content-Type: ${imageType}`,
          `Content-Length: ${image.body.length}`,
          `Docker-Content-Digest: ${image.digest}`,
        ),
        startLine.startsWith('HEAD') ? '' : image.body,
      );
  };
  const upstream = await startUpstream({
    script: async (request) => {
      await request.body();
      if (request.startLine.includes(heldPart)) held.push(request);
      else answer(request);
    },
  });
  return {
    url: upstream.url,
    close: () => upstream.close(),
    seen: (part) =>
      upstream.requests.map(({ startLine }) => startLine.trim()).filter((line) => line.includes(part)),
    holds: (part) => (heldPart = part),
    held,
    letGo: () => {
      heldPart = 'none';
      for (const request of held.splice(0)) answer(request);
    },
  };
}
