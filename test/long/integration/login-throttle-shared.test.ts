import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, password, user, type FrontDoor } from '../../support/front-door.ts';
import { logIn, logInOver, type Login } from '../../support/logins.ts';
import type { RawClient } from '../../support/raw-client.ts';
import { keysUnder, startRedis, until, type RedisServer } from '../../support/redis.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { connectToWorker, untilGone, workerPids } from '../../support/workers.ts';

let upstream: ScriptedUpstream;
before(async () => {
  upstream = await startUpstream({ script: answerOk });
});
after(() => upstream.close());

const right = (from = '127.0.0.1'): Login => ({ name: user, password, from });
/** Each address with a name of its own, so that no test locks another's name out. */
const guess = (number: number, from = '127.0.0.1', name = `somebody at ${from}`): Login => ({
  name,
  password: `guess ${number}`,
  from,
});

describe('guessing passwords at several workers', { timeout: 360_000 }, () => {
  let frontDoor: FrontDoor;
  const clients: RawClient[] = [];
  before(async () => {
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'auth.throttle.addressFailures=4', 'auth.credentialTtl=1s'],
    });
  });
  after(async () => {
    for (const client of clients) client.leave();
    await frontDoor.stop();
  });
  const connectTo = async (pid = 0) => {
    const client = await connectToWorker(frontDoor, pid);
    clients.push(client);
    return client;
  };

  test('is counted together, and a right password is known to all, those that start later too', async () => {
    const [first = 0, second = 0] = await workerPids(frontDoor);
    const atFirst = await connectTo(first);
    assert.equal((await logInOver(atFirst, right())).status, 200);
    process.kill(second, 'SIGKILL');
    await untilGone(second);
    let third = 0;
    await until('another has taken its place', async () => {
      third = (await workerPids(frontDoor)).find((pid) => pid !== first && pid !== second) ?? 0;
      return third !== 0;
    });
    await frontDoor.logged(({ msg, workerPid }) => msg.includes('is listening') && workerPid === third);
    const atThird = await connectTo(third);
    for (const [number, client] of [atFirst, atThird, atFirst, atThird].entries())
      assert.equal((await logInOver(client, guess(number))).status, 401);
    for (const client of [atFirst, atThird]) {
      assert.equal((await logInOver(client, guess(9))).status, 429);
      assert.equal((await logInOver(client, { name: user, password: 'guess' })).status, 429);
      assert.equal((await logInOver(client, right())).status, 200);
    }
    assert.equal((await logIn(frontDoor, right('127.0.0.2'))).status, 200);
    const said = () => frontDoor.log.filter(({ msg }) => msg.includes('locked out')).length;
    await until('one worker says it', () => said() === 1);
  });
});

describe('guessing passwords at several instances', { timeout: 360_000 }, () => {
  let redis: RedisServer;
  let instances: FrontDoor[] = [];
  const keyPrefix = 'test:';
  /** Each instance's for what it asks, and for what it listens to; and the test's own. */
  const connections = 2 * 2 + 1;
  before(async () => {
    redis = await startRedis();
    instances = await Promise.all(
      [1, 2].map(() =>
        startFrontDoor({
          upstreamUrl: upstream.url,
          set: [
            ...['cache.driver=redis', `cache.redis.url=redis://${redis.address}`],
            ...[`cache.redis.keyPrefix=${keyPrefix}`, 'cache.redis.timeout=2s'],
            ...['auth.throttle.addressFailures=4', 'auth.throttle.nameFailures=6'],
          ],
        }),
      ),
    );
    await until('all are connected', async () => {
      const list = (await redis.admin.client('LIST')) as string;
      return list.trim().split('\n').length === connections;
    });
  });
  after(async () => {
    await Promise.all(instances.map((instance) => instance.stop()));
    await redis.stop();
  });
  const statusAt = async (instance: number, login: Login) =>
    (await logIn(instances[instance] ?? assert.fail(), login)).status;
  const saidSoFar = () =>
    instances.flatMap(({ log }) => log.filter(({ msg }) => msg.includes('locked out'))).length;

  test('is counted together by name, and where it succeeded is known to all', async () => {
    assert.equal(await statusAt(0, right('127.0.0.20')), 200);
    const before = saidSoFar();
    for (let i = 0; i < 6; i++) assert.equal(await statusAt(i % 2, guess(i, `127.0.0.${30 + i}`, user)), 401);
    await until('one instance says it', () => saidSoFar() === before + 1);
    for (const instance of [0, 1]) {
      assert.equal(await statusAt(instance, guess(9, '127.0.0.40', user)), 429);
      assert.equal(await statusAt(instance, guess(9, '127.0.0.20', user)), 401);
    }
  });

  test('is counted together by address', async () => {
    const from = '127.0.0.10';
    const before = saidSoFar();
    for (const number of [0, 1, 2, 3]) assert.equal(await statusAt(number % 2, guess(number, from)), 401);
    for (const instance of [0, 1]) {
      assert.equal(await statusAt(instance, guess(2, from)), 429);
      assert.equal(await statusAt(instance, guess(2, from, 'another')), 429);
      assert.equal(await statusAt(instance, guess(2, '127.0.0.11')), 401);
    }
    await until('one instance says it', () => saidSoFar() === before + 1);
  });

  test('leaves nothing in Redis that names anyone, and nothing without an end', async () => {
    const keys = (await keysUnder(redis.admin, keyPrefix)).filter((key) => key.includes(':login:'));
    assert.ok(keys.length > 5);
    assert.doesNotMatch(keys.join(), /alice|somebody|127\.0/);
    for (const key of keys) assert.ok((await redis.admin.pttl(key)) > 0, key);
  });

  test('is counted by each instance alone while Redis is away, and locked out stays who was', async () => {
    await redis.kill();
    assert.equal(await statusAt(0, guess(3, '127.0.0.10')), 429);
    for (let i = 0; i < 4; i++) assert.equal(await statusAt(0, guess(i, '127.0.0.50')), 401);
    assert.equal(await statusAt(0, guess(9, '127.0.0.50')), 429);
    assert.equal(await statusAt(1, guess(9, '127.0.0.50')), 401);
    assert.equal(await statusAt(1, guess(1, '127.0.0.51')), 401);
  });

  test('is counted together again when Redis is back', async () => {
    await redis.start();
    await until('both are connected', async () => {
      const list = (await redis.admin.client('LIST')) as string;
      return list.trim().split('\n').length === connections;
    });
    const countedAddresses = async () =>
      (await keysUnder(redis.admin, keyPrefix)).filter((key) => key.includes(':login:address:')).length;
    for (const instance of [0, 1]) {
      let number = 100 * instance;
      // An instance leaves Redis alone for a second after it failed.
      await until('it counts in Redis', async () => {
        const before = await countedAddresses();
        assert.equal(await statusAt(instance, guess(1, `127.0.1.${(number += 1)}`)), 401);
        return (await countedAddresses()) > before;
      });
    }
    const from = '127.0.0.90';
    for (const number of [0, 1, 2, 3]) assert.equal(await statusAt(number % 2, guess(number, from)), 401);
    for (const instance of [0, 1]) assert.equal(await statusAt(instance, guess(2, from)), 429);
  });

  test('is counted alone, and waits no longer than it may, where Redis does not answer', async () => {
    redis.pause();
    try {
      for (let i = 0; i < 4; i++) assert.equal(await statusAt(0, guess(i, '127.0.0.80')), 401);
      assert.equal(await statusAt(0, guess(9, '127.0.0.80')), 429);
    } finally {
      redis.resume();
    }
  });
});
