import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { listenOn } from '../../src/system/unix-socket.ts';
import { beforeDelete } from '../support/altered-doors.ts';
import { createCacheClient } from '../support/cache-client.ts';
import { imageType, startCleanedRegistry } from '../support/cleaned-registry.ts';
import type { FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { until } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { startTestCleaner, type TestCleaner } from '../support/test-cleaner.ts';

describe('a second front door without a Redis', { timeout: 480_000 }, () => {
  let upstream: ScriptedUpstream;
  let cleaner: TestCleaner;
  let first: FrontDoor;
  let second: Promise<FrontDoor> | undefined;
  let lateMs = 0;
  before(async () => {
    upstream = await startUpstream({
      script: (request) => request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 0')),
    });
  });
  after(() => upstream.close());
  beforeEach(async () => {
    lateMs = 0;
    cleaner = await startTestCleaner({ now: () => Date.now() + lateMs });
    first = await cleaner.startDoor(upstream.url);
    await cleaner.untilConnected();
  });
  afterEach(async () => {
    await (await second)?.stop();
    second = undefined;
    await first.stop();
    await cleaner.close();
  });

  test('is known before it serves, and waits for what is under way', async () => {
    const held = (await cleaner.doors.lock(['app'], 2000)) ?? assert.fail('it was not reached');
    await cleaner.doors.evidence({ lock: held });
    second = cleaner.startDoor(upstream.url);
    await untilRefused(cleaner, /is starting/);
    assert.equal(held.isSure(), false);
    await assert.rejects(cleaner.doors.evidence({ lock: held }), /is starting/);
    await assert.rejects(cleaner.doors.lock(['other']), /is starting/);
    assert.equal(countNoted(cleaner), 1);
    await held.release();
    await until('it is noted', () => countNoted(cleaner) === 2);
    await second;
    await cleaner.doors.arrive();
    await assert.rejects(cleaner.doors.check(), /shares no Redis/);
  });

  test('that cannot start leaves nothing behind', async () => {
    const { leasesSince } = await cleaner.doors.check();
    await assert.rejects(cleaner.startDoor(upstream.url, [`listen.port=${first.port}`]));
    await until('it has signed off', () =>
      cleaner.log.some(({ message }) => message === 'a front door has signed off'),
    );
    // Two clocks make it: the last millisecond may differ.
    const after = (await cleaner.doors.check()).leasesSince;
    assert.ok(Math.abs(after - leasesSince) <= 1, `${leasesSince}, then ${after}`);
  });

  test('that is killed before it serves is missed for some seconds only', async () => {
    const held = (await cleaner.doors.lock(['app'], 2000)) ?? assert.fail('it was not reached');
    const starting = assert.rejects(cleaner.startDoor(upstream.url));
    const why = await untilRefused(cleaner, /is starting/);
    process.kill(Number(/\/(\d+) is starting/.exec(why)?.[1]), 'SIGKILL');
    await untilRefused(cleaner, /has vanished/);
    await held.release();
    await starting;
    lateMs = 20_000;
    assert.equal((await cleaner.doors.check()).doors.length, 1);
  });
});

test(
  'a front door waits for its cleaner, but not for one that says nothing',
  { timeout: 240_000 },
  async () => {
    const cleaner = await startTestCleaner();
    const socketPath = `${cleaner.socketPath}2`;
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    await listenOn(server, socketPath);
    const door = await cleaner.startDoor('http://127.0.0.1:9', [`clean.socket=${socketPath}`]);
    const waited = door.log.findIndex(({ msg }) => msg.startsWith('the cleaner is late'));
    assert.ok(waited !== -1 && waited < door.log.findIndex(({ msg }) => msg === 'listening'));
    await door.stop();
    server.close();
    await cleaner.close();
  },
);

describe('a run', { skip: unlessInstalled('docker-registry'), timeout: 480_000 }, () => {
  test('ends when a second front door starts, which serves only then', async (t) => {
    const registry = await startCleanedRegistry();
    let starting: Promise<FrontDoor> | undefined;
    t.after(async () => {
      await (await starting)?.stop();
      await registry.stop();
    });
    const { cleaner } = registry;
    await registry.push('app', 'v1', ['config 1', 'layer 1']);
    await registry.push('app', 'v2', ['config 2', 'layer 2']);
    await registry.push('app', 'v3', ['config 3', 'layer 3']);
    const doors = beforeDelete(cleaner.doors, 'app', async () => {
      starting = cleaner.startDoor(registry.registry.url, [`upstream.storage=${registry.root}`]);
      await untilRefused(cleaner, /is starting/);
      assert.equal(countNoted(cleaner), 1);
    });
    await assert.rejects(registry.run({ doors }), { name: 'DoorsError', message: /is starting/ });
    const second = (await starting) ?? assert.fail('it was not started');
    await cleaner.doors.arrive();
    await assert.rejects(registry.run(), /shares no Redis/);
    const client = createCacheClient(second);
    const answer = await client.ask('HEAD', '/v2/app/manifests/v3', { headers: { Accept: imageType } });
    assert.equal(answer.status, 200);
    client.close();
    assert.equal(await registry.pull('app', 'v3'), null);
    await second.stop();
    await registry.run();
    assert.equal(await registry.pull('app', 'v3'), null);
  });
});

/** How many front doors were told that they may serve. */
const countNoted = ({ log }: TestCleaner): number =>
  log.filter(({ message }) => message === 'a front door is starting').length;

/** Waits until the front doors cannot be relied on, for this reason, and returns it in full. */
async function untilRefused({ doors }: TestCleaner, why: RegExp): Promise<string> {
  let said = '';
  await until(`they are refused: ${why}`, async () => {
    said = await doors.check().then(
      () => '',
      (error: unknown) => (error as Error).message,
    );
    return why.test(said);
  });
  return said;
}
