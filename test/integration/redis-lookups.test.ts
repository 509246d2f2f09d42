import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { CacheStore, Slot } from '../../src/cache/stores/store.ts';
import { createRedisKeys } from '../../src/redis/keys.ts';
import { openTestStore, type TestStore } from '../support/redis-store.ts';
import { startRedis, until, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';

const slot: Slot = { scope: 'v2:app', item: 'latest', variant: 'a' };
const keys = createRedisKeys('test:', 'http://127.0.0.1:5000');
const bytes = 8000;

describe('lookups in a Redis that instances share', { skip: unlessInstalled('redis-server') }, () => {
  let server: RedisServer;
  let one: TestStore;
  let other: TestStore;
  before(async () => {
    server = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  });
  after(() => server.stop());
  beforeEach(async () => {
    await server.admin.flushall();
    one = openTestStore({ address: server.address });
    other = openTestStore({ address: server.address });
    // The one that comes later ends the epoch of both.
    for (const { trusted } of [one, other, one]) await trusted();
  });
  afterEach(async () => {
    await one.store.close();
    await other.store.close();
  });

  const figure = async (section: string, form: RegExp) =>
    Number(form.exec(await server.admin.info(section))?.[1] ?? 0);
  const scriptCalls = () => figure('commandstats', /cmdstat_evalsha:calls=(\d+)/);
  const sentBytes = () => figure('stats', /total_net_output_bytes:(\d+)/);
  const changes = () => figure('persistence', /rdb_changes_since_last_save:(\d+)/);

  test('32 clients that ask for one answer cost two lookups at a time', async () => {
    await fill(one.store, manifest());
    const before = await scriptCalls();
    const rounds = 20;
    const client = async () => {
      for (let i = 0; i < rounds; i += 1) assert.equal((await one.store.lookup(slot)).kind, 'found');
    };
    await Promise.all(Array.from({ length: 32 }, client));
    const calls = (await scriptCalls()) - before;
    assert.ok(calls <= 2 * rounds, `${calls} lookups in ${rounds} rounds`);
  });

  test('what an instance holds is not sent again, and its hits change nothing in Redis', async () => {
    const value = manifest();
    await fill(other.store, value);
    assert.deepEqual(await found(one.store), value);
    const before = { sent: await sentBytes(), changes: await changes(), startedMs: performance.now() };
    for (let i = 0; i < 200; i += 1) assert.deepEqual(await found(one.store), value);
    const seconds = Math.ceil((performance.now() - before.startedMs) / 1000);
    assert.ok((await sentBytes()) - before.sent < 200 * 300, 'only the ticket is sent');
    assert.ok((await changes()) - before.changes <= seconds, 'at most one change per second');
  });

  test('what an instance holds is never found after a write by another', async () => {
    for (let i = 0; i < 50; i += 1) {
      const value = manifest();
      await fill(other.store, value);
      assert.deepEqual(await found(one.store), value);
      assert.deepEqual(await found(one.store), value);
      const change = {
        id: String(i),
        scope: slot.scope,
        items: i % 2 === 0 ? [slot.item] : ('all' as const),
      };
      const asked = Array.from({ length: 5 }, () => one.store.lookup(slot));
      assert.equal(await other.store.beginWrite(change), true);
      assert.equal(await found(one.store), null);
      assert.equal(await other.store.endWrite(change), true);
      assert.equal(await found(one.store), null);
      await Promise.all(asked);
    }
  });

  test('another value in its place is sent, whatever its length, and the first one again', async () => {
    const [first, second] = [manifest(), manifest()];
    for (const value of [first, second, first]) {
      await fill(other.store, value);
      assert.deepEqual(await found(one.store), value);
      assert.deepEqual(await found(one.store), value);
    }
  });

  test('what an instance holds is not found when it is gone from Redis', async () => {
    const takeAway = [
      () => server.admin.del(keys.entry(slot)),
      () => server.admin.del(keys.epoch),
      () => server.admin.del(keys.words),
      () => server.admin.flushall(),
      async () => {
        await server.admin.del(keys.entry(slot));
        await server.admin.lpush(keys.entry(slot), 'x');
      },
    ];
    for (const take of takeAway) {
      await fill(one.store, manifest());
      assert.notEqual(await found(one.store), null);
      await take();
      assert.equal(await found(one.store), null);
    }
  });

  test('what an instance holds and uses is evicted last', async () => {
    await one.store.close();
    one = openTestStore({ address: server.address, maxBytes: 100_000 });
    for (const { trusted } of [one, other, one]) await trusted();
    const at = (i: number) => ({ ...slot, item: `tag${i}` });
    await fill(one.store, manifest(), at(0));
    for (let i = 0; i < 12; i += 1) {
      assert.notEqual(await found(one.store, at(0)), null, `after ${i} others`);
      if (i > 0) await fill(one.store, manifest(), at(i));
      // Its use is noted once a second.
      if (i % 4 === 3) await delay(1100);
    }
    // As many again, of which each is used once.
    for (let i = 12; i < 20; i += 1) {
      await fill(one.store, manifest(), at(i));
      assert.notEqual(await found(one.store, at(0)), null, `after ${i} others`);
    }
    assert.equal(await found(one.store, at(1)), null);
  });

  test('a replica is not believed when it says that it is still so', async () => {
    const primary = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
    try {
      await fill(one.store, manifest());
      assert.notEqual(await found(one.store), null);
      for (const key of await server.admin.keys('*'))
        await primary.admin.restore(key, await server.admin.pttl(key), await server.admin.dumpBuffer(key));
      await server.admin.replicaof('127.0.0.1', primary.port);
      await until('it has caught up', async () =>
        (await server.admin.info('replication')).includes('master_link_status:up'),
      );
      assert.equal((await one.store.lookup(slot)).kind, 'unavailable');
      assert.match(String(one.log.at(-1)?.reason), /READONLY/);
    } finally {
      await server.admin.replicaof('NO', 'ONE');
      await primary.stop();
    }
  });
});

/** A value as it is stored: the hash of the rest, and the rest. */
function manifest(): Buffer {
  const content = randomBytes(bytes);
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

async function fill(store: CacheStore, value: Buffer, at = slot): Promise<void> {
  const lookup = await store.lookup(at);
  assert.notEqual(lookup.kind, 'unavailable');
  const ticket = lookup.kind === 'unavailable' ? '' : lookup.ticket;
  assert.equal((await store.fill(at, ticket, value, 0)).stored, true);
}

async function found(store: CacheStore, at = slot): Promise<Buffer | null> {
  const lookup = await store.lookup(at);
  assert.notEqual(lookup.kind, 'unavailable');
  return lookup.kind === 'found' ? lookup.value : null;
}
