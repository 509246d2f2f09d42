import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { flushRedis } from '../../../src/cache/stores/redis-admin.ts';
import { createRedisKeys } from '../../../src/redis/keys.ts';
import type { CacheStore, Slot } from '../../../src/cache/stores/store.ts';
import { createTrace, perfectHitRatio, playTrace, type TraceStep } from '../../contract/lru.ts';
import { stop } from '../../support/processes.ts';
import { readAccounting } from '../../support/redis-accounting.ts';
import { openTestStore, type TestStore } from '../../support/redis-store.ts';
import {
  passTime,
  startRedis,
  until,
  type RedisServer,
  type RedisServerOptions,
} from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const maxBytes = 1024 * 1024;
const ttlMs = 3_600_000;
const fillerPath = fileURLToPath(new URL('../../support/redis-filler.js', import.meta.url));
const keys = createRedisKeys('test:', 'http://127.0.0.1:5000');

describe('what the cache keeps in Redis', { skip: unlessInstalled('redis-server') }, () => {
  let server: RedisServer;
  let stores: TestStore[];
  const start = async (options: RedisServerOptions = {}) => {
    server = await startRedis(options);
  };
  const open = async (): Promise<TestStore> => {
    const opened = openTestStore({ address: server.address, maxBytes, ttlMs });
    stores.push(opened);
    await opened.trusted();
    return opened;
  };
  const assertSound = async (what: string) => {
    const accounting = await readAccounting(server.admin, 'test:');
    assert.equal(accounting.total, accounting.memberSum, `${what}: the sum is that of the members`);
    assert.ok(accounting.total <= maxBytes, `${what}: ${accounting.total} bytes by its own account`);
    assert.ok(accounting.valueBytes <= maxBytes, `${what}: ${accounting.valueBytes} bytes in Redis`);
    assert.equal(accounting.unindexed, 0, `${what}: every entry is in the index`);
    return accounting;
  };
  beforeEach(() => {
    stores = [];
  });
  afterEach(async () => {
    await Promise.all(stores.map(({ store }) => store.close()));
    await server.stop();
  });

  it('keeps its bound, and hits as often as a perfect LRU', async (t) => {
    await start();
    const { store } = await open();
    const trace = createTrace(12_000);
    const largest = { own: 0, inRedis: 0 };
    const { hitRatio } = await playTrace(store, trace, async (step) => {
      if (step % 200 !== 0) return;
      const { valueBytes, total } = await readAccounting(server.admin, 'test:');
      largest.own = Math.max(largest.own, total);
      largest.inRedis = Math.max(largest.inRedis, valueBytes);
    });
    const perfect = perfectHitRatio(trace, maxBytes);
    t.diagnostic(
      `Redis: hit ratio ${hitRatio.toFixed(4)}, perfect LRU ${perfect.toFixed(4)}, ` +
        `at most ${largest.own} bytes by its own account, ${largest.inRedis} in values`,
    );
    assert.ok(largest.own <= maxBytes && largest.inRedis <= maxBytes);
    assert.ok(largest.own > maxBytes * 0.95, 'it uses what it may');
    assert.ok(perfect - hitRatio < 0.03);
    const { entries } = await assertSound('at the end');
    assert.equal((await store.stats())?.entries, entries);
  });

  it('is sound after redis-server was killed in the middle of filling', async () => {
    await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const { store, trusted, lost } = await open();
    const filling = fillAll(store, createTrace(3000));
    await until(
      'half a mebibyte is kept',
      async () => (await readAccounting(server.admin, 'test:')).total > maxBytes / 2,
    );
    await server.kill();
    await filling;
    await lost();
    await server.start();
    const { entries } = await assertSound('after the restart');
    assert.ok(entries > 50, 'there was something in the log of writes');
    await trusted();
    await fillAll(store, createTrace(3000, 7));
    await assertSound('after it was filled again');
  });

  it('is sound after a client was killed in the middle of filling', async () => {
    await start();
    const { store, trusted } = await open();
    for (const seed of [100, 200]) {
      const filler = spawn(process.execPath, [fillerPath, server.address, String(seed)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(filler.stdout, 'data');
      await stop(filler, 'SIGKILL');
      await assertSound('after the kill');
    }
    await trusted();
    await fillAll(store, createTrace(2000, 3));
    await assertSound('after another filled on');
  });

  it("lives with Redis's own eviction, and has all of its room again afterwards", async () => {
    await start({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    const { store, log } = await open();
    await fillAll(store, createTrace(2000));
    const used = Number(/used_memory:(\d+)/.exec(await server.admin.info('memory'))?.[1]);
    // Too little for what is there, so that it throws out entries, scopes, the index and the epoch as they come.
    await server.admin.config('SET', 'maxmemory', String(used - 500_000));
    const { hitRatio } = await playTrace(store, createTrace(3000, 5), () => Promise.resolve());
    assert.ok(hitRatio > 0, 'it is a cache still');
    assert.ok(Number(/evicted_keys:(\d+)/.exec(await server.admin.info('stats'))?.[1]) > 100);
    assert.deepEqual(log, [], 'that is no trouble');
    await server.admin.config('SET', 'maxmemory', '0');
    await passTime([server], 'test:', ttlMs - 1000); // those that the index forgot end with their time
    const later = createTrace(6000, 9);
    await fillAll(store, later);
    await passTime([server], 'test:', 1001);
    await fillAll(store, later);
    const { total } = await assertSound('after Redis had room again');
    assert.ok(total > maxBytes * 0.95, `its room is used: ${total}`);
  });

  it('heals when its index, its epoch, its words or an entry is taken away', async () => {
    await start();
    const { store, log } = await open();
    const { store: other } = await open();
    await until('both use it', async () => (await store.lookup(slotOf(0))).kind !== 'unavailable');
    const fillSome = () =>
      fillAll(
        store,
        Array.from({ length: 20 }, (_, i) => ({ slot: slotOf(i), bytes: 1000 })),
      );
    const foundBy = async (by: CacheStore) => {
      const kinds = await Promise.all(Array.from({ length: 20 }, (_, i) => by.lookup(slotOf(i))));
      return kinds.filter(({ kind }) => kind === 'found').length;
    };
    await fillSome();
    const before = await assertSound('filled');
    await server.admin.del(keys.index);
    assert.equal((await readAccounting(server.admin, 'test:')).unindexed, 20);
    assert.equal(await foundBy(other), 20, 'the index gone: all are found');
    assert.deepEqual(await assertSound('used again'), before);

    await server.admin.del(keys.epoch);
    assert.equal(await foundBy(other), 0, 'the epoch gone: none is believed');
    await fillSome();
    assert.equal(await foundBy(other), 20);
    assert.deepEqual(await assertSound('epoch'), before);

    await server.admin.del(keys.words);
    assert.equal(await foundBy(other), 0, 'the words gone: none is believed');
    await fillSome();
    assert.deepEqual(await assertSound('words'), before);

    await server.admin.del(keys.entry(slotOf(0)));
    assert.equal(await foundBy(other), 19, 'an entry gone: the others are found');
    assert.equal((await other.stats())?.entries, 19);
    await fillSome();
    assert.deepEqual(await assertSound('entry'), before);
    assert.deepEqual(log, []);
  });

  it('refuses a fill after the epoch or the words were taken away', async () => {
    await start();
    const { store } = await open();
    for (const key of [keys.epoch, keys.words]) {
      const lookup = await store.lookup(slotOf(0));
      assert.equal(lookup.kind, 'absent');
      await server.admin.del(key);
      assert.equal((await store.fill(slotOf(0), lookup.ticket, Buffer.alloc(1), 0)).stored, false);
      await store.lookup(slotOf(0));
      assert.equal((await store.fill(slotOf(0), lookup.ticket, Buffer.alloc(1), 0)).stored, false);
    }
  });

  it('makes no key for what is looked for, and a bounded one for what is written', async () => {
    await start();
    const { store } = await open();
    await store.lookup(slotOf(0));
    const usedBytes = async () => Number(/used_memory:(\d+)/.exec(await server.admin.info('memory'))?.[1]);
    const keysBefore = await server.admin.dbsize();
    const emptyBytes = await usedBytes();
    for (let i = 0; i < 3000; i += 1)
      await store.lookup({ scope: `v2:${String(i).padStart(255, 'a')}`, item: 'x'.repeat(128), variant: '' });
    assert.equal(await server.admin.dbsize(), keysBefore);
    const lookedBytes = await usedBytes();
    assert.ok(lookedBytes - emptyBytes < 100_000, `${lookedBytes - emptyBytes} bytes for looking`);
    assert.deepEqual(await store.stats(), { entries: 0, bytes: 0 });
    let most = 0;
    for (let i = 0; i < 3000; i += 1) {
      const change = { id: String(i), scope: `v2:${String(i).padStart(255, 'a')}`, items: ['x'.repeat(128)] };
      await store.beginWrite(change);
      await store.endWrite(change);
      most = Math.max(most, (await store.stats())?.bytes ?? 0);
    }
    assert.equal(await server.admin.dbsize(), keysBefore);
    assert.ok(most > maxBytes / 16 && most <= maxBytes / 8, `${most} bytes by its own account`);
    const wordsBytes = Number(await server.admin.memory('USAGE', keys.words, 'SAMPLES', 0));
    assert.ok(wordsBytes <= maxBytes / 8, `${wordsBytes} bytes by Redis's account`);
  });

  it('gives every key a lifetime', async () => {
    await start();
    const { store } = await open();
    await fillAll(store, createTrace(100));
    const change = { id: 'a', scope: 'repository1', items: ['sha256:1'] };
    await store.beginWrite(change);
    await store.endWrite(change);
    for (const key of await server.admin.keys('*')) assert.ok((await server.admin.pttl(key)) > 0, key);
  });

  it('never touches the keys of others', async () => {
    await start();
    const foreign = [
      'test',
      'test:',
      'test:{x}:index',
      `test:${keys.index}`,
      'session:1',
      'tests:1',
      `${keys.index}2`,
    ];
    const others = createRedisKeys('test:', 'http://127.0.0.1:5001');
    foreign.push(others.epoch, others.index, others.entry(slotOf(0)), others.words);
    for (const key of foreign) await server.admin.set(key, `value of ${key}`);
    await server.admin.zadd('scores', 1, '100|session:1');
    const { store } = await open();
    await fillAll(store, createTrace(4000));
    for (let i = 0; i < 40; i += 1) {
      const change = { id: 'a', scope: `repository${i}`, items: 'all' as const };
      await store.beginWrite(change);
      await store.endWrite(change);
    }
    await flushRedis(server.admin, keys);
    for (const key of foreign) assert.equal(await server.admin.get(key), `value of ${key}`);
    assert.equal(await server.admin.zscore('scores', '100|session:1'), '1');
    const left = (await server.admin.keys('*')).filter((key) => !foreign.includes(key) && key !== 'scores');
    assert.deepEqual(
      left.filter((key) => key !== keys.words),
      [],
      'emptied but for the word that all begin with',
    );
    assert.deepEqual(await store.stats(), { entries: 0, bytes: 0 });
  });

  it('counts a large cache without holding up anyone', async (t) => {
    await start();
    const { store, log } = await open();
    const prefix = keys.index.slice(0, -'index'.length);
    for (let from = 0; from < 20_000; from += 2000) {
      await server.admin.eval(
        `for i = ARGV[2] + 1, ARGV[2] + 2000 do
          local key = ARGV[1] .. 'entry:x' .. i
          redis.call('SET', key, 'x', 'PX', 600000)
          redis.call('ZADD', KEYS[1], i, (201 + #key) .. '|' .. key)
          redis.call('ZINCRBY', KEYS[1], -(201 + #key), '#')
        end`,
        1,
        keys.index,
        prefix,
        from,
      );
    }
    await server.admin.config('SET', 'slowlog-log-slower-than', '20000');
    await server.admin.slowlog('RESET');
    assert.equal((await store.stats())?.entries, 20_000);
    await flushRedis(server.admin, keys);
    assert.deepEqual(await store.stats(), { entries: 0, bytes: 0 });
    const slow = (await server.admin.slowlog('GET', 10)) as [number, number, number][];
    t.diagnostic(`scripts of more than 20 ms: ${slow.length}`);
    assert.ok(
      slow.every(([, , us]) => us < 100_000),
      'no script takes as long as a lookup waits',
    );
    assert.deepEqual(log, []);
  });
});

function slotOf(i: number): Slot {
  return { scope: 'library/app', item: `tag${i}`, variant: '' };
}

/** Looks up and fills, some at a time; failures are as good as misses. */
async function fillAll(store: CacheStore, steps: readonly TraceStep[]): Promise<void> {
  const queue = steps[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const { slot, bytes } of queue) {
        const lookup = await store.lookup(slot);
        if (lookup.kind === 'absent') await store.fill(slot, lookup.ticket, Buffer.alloc(bytes), 0);
      }
    }),
  );
}
