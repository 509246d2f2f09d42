import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Redis } from 'ioredis';
import { createRedisKeys } from '../../../src/redis/keys.ts';
import { connectRedis, type RedisConnectionOptions } from '../../../src/redis/connection.ts';
import type { WriteNotice } from '../../../src/cache/stores/shared-memory-store.ts';
import type { CacheStore, Slot } from '../../../src/cache/stores/store.ts';
import type { WorkerIpc } from '../../../src/system/worker-ipc.ts';
import { openTestStore, type TestStore } from '../../support/redis-store.ts';
import {
  startCluster,
  startRedis,
  startRelay,
  startSentinelGroup,
  startTlsRedis,
  until,
  type RedisServer,
  type RedisServerOptions,
  type Relay,
} from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const slot: Slot = { scope: 'library/app', item: 'latest', variant: '' };
const value = Buffer.from('a manifest');
const newer = Buffer.from('a newer manifest');
const timeoutMs = 100;
/** What an operation may take when Redis is silent: the machine of the tests is busy with other things too. */
const patienceMs = 5 * timeoutMs;
const warnings = ({ log }: TestStore) => log.filter(({ level }) => level === 'warn');
const recoveries = ({ log }: TestStore) => log.filter(({ level }) => level === 'info');
const keys = createRedisKeys('test:', 'http://127.0.0.1:5000');

describe('Redis in trouble', { skip: unlessInstalled('redis-server', 'openssl') }, () => {
  let closers: (() => Promise<void>)[];
  beforeEach(() => {
    closers = [];
  });
  afterEach(async () => {
    for (const close of closers.reverse()) await close();
  });

  const start = async (options?: RedisServerOptions): Promise<RedisServer> => {
    const server = await startRedis(options);
    closers.push(() => server.stop());
    return server;
  };
  const relayTo = async ({ port }: RedisServer): Promise<Relay> => {
    const relay = await startRelay(port);
    closers.push(() => relay.close());
    return relay;
  };
  const openAt = (
    connection: Partial<RedisConnectionOptions>,
    settleMs = 0,
    peers?: WorkerIpc<WriteNotice>,
  ): TestStore => {
    const opened = openTestStore({
      timeoutMs,
      settleMs,
      ipc: peers,
      redis: connectRedis({
        url: '',
        username: null,
        password: null,
        ca: null,
        connectTimeoutMs: 2000,
        ...connection,
      }),
    });
    closers.push(() => opened.store.close());
    return opened;
  };
  const open = async ({ address }: { address: string }, settleMs = 0): Promise<TestStore> => {
    const opened = openAt({ url: `redis://${address}` }, settleMs);
    await opened.trusted();
    return opened;
  };

  it('is passed by when it is down at the start, and used when it comes', async () => {
    const server = await start();
    await server.kill();
    const opened = openAt({ url: `redis://${server.address}` });
    await assertPassedBy(opened.store);
    await until('it is in the log', () => warnings(opened).length === 1);
    assert.match(String(warnings(opened)[0]?.reason), /ECONNREFUSED/);
    await server.start();
    await opened.trusted();
    await assertUsable(opened.store);
    assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
  });

  it('is passed by while it is restarted; nothing of before is believed, though it kept everything', async () => {
    const server = await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const opened = [await open(server), await open(server)];
    const [a, b] = opened as [TestStore, TestStore];
    await b.trusted();
    await a.trusted();
    await fill(a.store, value);
    assert.deepEqual(await found(b.store), value);
    await server.kill();
    await Promise.all([a.lost(), b.lost()]);
    assert.equal(await write(a.store), false, 'it says that it could not tell');
    await server.start();
    assert.ok((await server.admin.keys(`${keys.entry(slot)}*`)).length > 0, 'Redis has the entry');
    await Promise.all(opened.map(({ trusted }) => trusted()));
    for (const { store } of opened) assert.equal(await found(store), null);
    for (const one of opened) assert.deepEqual([warnings(one).length, recoveries(one).length], [1, 1]);
  });

  it('is not believed when it comes back with what it had before a write', async () => {
    const server = await start();
    const opened = await open(server);
    await fill(opened.store, value);
    await server.admin.call('SAVE');
    assert.equal(await write(opened.store), true);
    await server.kill();
    await opened.lost();
    await server.start();
    assert.equal(await server.admin.exists(keys.entry(slot)), 1);
    await opened.trusted();
    assert.equal(await found(opened.store), null);
  });

  it('makes nobody wait when it hangs, but for the first, and only for its timeout', async () => {
    const server = await start();
    const opened = await open(server);
    await fill(opened.store, value);
    server.pause();
    const startedMs = performance.now();
    const lookups = Array.from({ length: 50 }, () => opened.store.lookup(slot));
    for (const lookup of await Promise.all(lookups)) assert.equal(lookup.kind, 'unavailable');
    const waitedMs = performance.now() - startedMs;
    assert.ok(waitedMs < patienceMs, `${waitedMs} ms`);
    await assertNoWaiting(opened.store);
    assert.equal(warnings(opened).length, 1, 'once, not per request');
    server.resume();
    await opened.trusted();
    assert.equal(await found(opened.store), null, 'nothing of before');
    await assertUsable(opened.store);
    assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
  });

  for (const operation of ['fill', 'beginWrite', 'endWrite', 'stats'] as const) {
    it(`ends ${operation} within the timeout when it hangs`, async () => {
      const server = await start();
      const { store } = await open(server);
      const lookup = await store.lookup(slot);
      assert.equal(lookup.kind, 'absent');
      const change = { id: 'a', scope: slot.scope, items: [slot.item] };
      const operations = {
        fill: async () => (await store.fill(slot, lookup.ticket, value, 0)).stored,
        beginWrite: () => store.beginWrite(change),
        endWrite: () => store.endWrite(change),
        stats: async () => (await store.stats()) !== null,
      };
      server.pause();
      const startedMs = performance.now();
      assert.equal(await operations[operation](), false);
      assert.ok(performance.now() - startedMs < patienceMs);
      server.resume();
    });
  }

  for (const phase of ['beginWrite', 'endWrite'] as const) {
    it(`is believed by no other worker when one cannot tell it of a write: ${phase}`, async () => {
      const server = await start();
      const relay = await relayTo(server);
      let warn: (notice: WriteNotice) => void = () => {};
      const writer = openAt({ url: `redis://${relay.address}` }, 0, {
        publish: (notice) => {
          warn(notice);
          return Promise.resolve();
        },
        subscribe: () => {},
      });
      // It settles for longer than this takes.
      const reader = openAt({ url: `redis://${server.address}` }, 1000, {
        publish: () => Promise.resolve(),
        subscribe: (listener) => (warn = listener),
      });
      for (const { trusted } of [writer, reader, writer, reader]) await trusted();
      await fill(reader.store, value);
      assert.deepEqual(await found(reader.store), value);
      const change = { id: 'a', scope: slot.scope, items: [slot.item] };
      if (phase === 'endWrite') assert.equal(await writer.store.beginWrite(change), true);
      relay.stall();
      assert.equal(await writer.store[phase](change), false);
      assert.equal((await reader.store.lookup(slot)).kind, 'unavailable');
      await reader.trusted();
      assert.equal(await found(reader.store), null, 'nothing of before');
    });
  }

  it('is found lost by itself when nobody asks', async () => {
    const server = await start();
    const opened = await open(server);
    server.pause();
    await until('the watch has seen it', () => warnings(opened).length === 1);
    await assertNoWaiting(opened.store);
    server.resume();
    await opened.trusted();
  });

  it('is used again when a connection went silent for good, and others are fine', async () => {
    const server = await start();
    const relay = await relayTo(server);
    const opened = await open(relay);
    relay.stall();
    await opened.lost();
    const before = relay.connections();
    await until('another connection is tried', () => relay.connections() > before);
    relay.flow();
    await opened.trusted();
    await assertUsable(opened.store);
  });

  it('is tried again and again when it accepts and never answers, from the start', async () => {
    const server = await start();
    const relay = await relayTo(server);
    relay.stall();
    const opened = openAt({ url: `redis://${relay.address}` });
    await assertNoWaiting(opened.store);
    await until('another connection is tried', () => relay.connections() > 1);
    assert.equal(warnings(opened).length, 1);
    relay.flow();
    await opened.trusted();
    assert.equal(recoveries(opened).length, 1);
  });

  it('is passed by when connections are cut and refused, and used again', async () => {
    const server = await start();
    const relay = await relayTo(server);
    const opened = await open(relay);
    await fill(opened.store, value);
    relay.refuse(true);
    await opened.lost();
    await assertNoWaiting(opened.store);
    relay.refuse(false);
    await opened.trusted();
    assert.equal(await found(opened.store), null);
    assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
  });

  it('is asked nothing while it is lost', async () => {
    const server = await start();
    const opened = await open(server);
    await server.admin.config('SET', 'requirepass', 'changed');
    await server.admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await opened.lost();
    await server.admin.config('RESETSTAT');
    for (let i = 0; i < 1000; i += 1) {
      await opened.store.lookup(slot);
      await write(opened.store);
    }
    const calls = /cmdstat_eval(sha)?:calls=(\d+)/.exec(await server.admin.info('commandstats'));
    assert.equal(calls, null);
  });

  it('holds writes when it is full, and answers what it has; fills are refused', async () => {
    const server = await start({ args: ['--maxmemory-policy', 'noeviction'] });
    const a = await open(server);
    const b = await open(server);
    await a.trusted();
    const others = Array.from({ length: 5 }, (_, i) => ({ ...slot, item: `other${i}` }));
    for (const at of [slot, ...others]) await fill(a.store, value, at);
    const ticket = await ticketOf(a.store, slot);
    await server.admin.config('SET', 'maxmemory', '1');
    assert.deepEqual(await found(b.store), value, 'a full Redis answers');
    assert.equal(
      (await a.store.fill({ ...slot, variant: 'b' }, ticket, randomBytes(10_000), 0)).stored,
      false,
    );
    assert.equal(await write(b.store), true, 'and is told of writes');
    const kinds = await Promise.all(
      Array.from({ length: 100 }, async () => (await a.store.lookup(slot)).kind),
    );
    assert.ok(!kinds.includes('found'), 'the older is gone');
    assert.equal((await a.store.fill(slot, ticket, value, 0)).stored, false);
    await until('it is in the log', () => warnings(a).length === 1);
    assert.match(warnings(a)[0]?.msg ?? '', /full/);
    await server.admin.config('SET', 'maxmemory', '0');
    await a.trusted();
    assert.equal(await found(a.store), null);
    assert.equal((await a.store.fill(slot, ticket, value, 0)).stored, false, 'not with a ticket of before');
    await assertUsable(a.store);
    await until('recovery is in the log', () => recoveries(a).length === 1);
    assert.equal(warnings(a).length, 1);
  });

  it('is passed by while it loads', async () => {
    const server = await start({
      args: [
        '--appendonly',
        'yes',
        '--key-load-delay',
        '2000',
        '--loading-process-events-interval-bytes',
        '1024',
      ],
    });
    const opened = await open(server);
    await fill(opened.store, value);
    const pipeline = server.admin.pipeline();
    for (let i = 0; i < 500; i += 1) pipeline.set(`foreign${i}`, randomBytes(1000));
    await pipeline.exec();
    await server.admin.call('BGREWRITEAOF');
    await until('the log is rewritten', async () =>
      (await server.admin.info('persistence')).includes('aof_rewrite_in_progress:0'),
    );
    await server.kill();
    await server.start(false);
    const probe = new Redis({ port: server.port, enableReadyCheck: false, retryStrategy: () => 20 });
    probe.on('error', () => {});
    closers.push(() => {
      probe.disconnect();
      return Promise.resolve();
    });
    await until('it is loading', () =>
      probe.get('x').then(
        () => false,
        (error: unknown) => String(error).includes('LOADING'),
      ),
    );
    await assertNoWaiting(opened.store);
    await opened.trusted();
    assert.equal(await found(opened.store), null);
    assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
  });

  it('is not believed when it became a replica, hit or miss', async () => {
    for (const state of ['hit', 'miss'] as const) {
      const primary = await start({ args: ['--repl-diskless-sync-delay', '0'] });
      const server = await start({ args: ['--repl-diskless-sync-delay', '0'] });
      const behind = await open(server);
      if (state === 'hit') await fill(behind.store, value);
      else assert.equal(await found(behind.store), null);
      // Its own keys, as a replica that has caught up until a moment ago has them.
      for (const key of await server.admin.keys('*')) {
        await primary.admin.restore(key, await server.admin.pttl(key), await server.admin.dumpBuffer(key));
      }
      await server.admin.replicaof('127.0.0.1', primary.port);
      await until('it has caught up', async () =>
        (await server.admin.info('replication')).includes('master_link_status:up'),
      );
      assert.equal((await behind.store.lookup(slot)).kind, 'unavailable', state);
      assert.match(String(warnings(behind)[0]?.reason), /READONLY/);
      await server.admin.replicaof('NO', 'ONE');
      await behind.trusted();
      assert.equal(await found(behind.store), null);
    }
  });

  it('is passed by when it cannot save and so takes no writes', async () => {
    const server = await start({ args: ['--save', '3600 1'] });
    const opened = await open(server);
    await fill(opened.store, value);
    const obstacle = path.join(server.dir, 'dump.rdb');
    await mkdir(path.join(obstacle, 'in the way'), { recursive: true });
    await server.admin.bgsave().catch(() => {});
    await until('a save failed', async () =>
      (await server.admin.info('persistence')).includes('rdb_last_bgsave_status:err'),
    );
    assert.equal((await opened.store.lookup(slot)).kind, 'unavailable');
    assert.match(String(warnings(opened)[0]?.reason), /MISCONF/);
    await assertNoWaiting(opened.store);
    await rm(obstacle, { recursive: true });
    await server.admin.call('SAVE');
    await opened.trusted();
    assert.equal(await found(opened.store), null);
  });

  it('is used on after SCRIPT FLUSH and after FLUSHALL, without a word', async () => {
    const server = await start();
    const opened = await open(server);
    await fill(opened.store, value);
    await server.admin.script('FLUSH');
    assert.deepEqual(await found(opened.store), value);
    await server.admin.script('FLUSH');
    assert.equal(await write(opened.store), true);
    assert.equal(await found(opened.store), null);
    const ticket = await ticketOf(opened.store, slot);
    const change = { id: 'a', scope: slot.scope, items: [slot.item] };
    await opened.store.beginWrite(change);
    await server.admin.flushall();
    await opened.store.lookup(slot);
    assert.equal((await opened.store.fill(slot, ticket, value, 0)).stored, false);
    assert.equal(await opened.store.endWrite(change), true);
    await assertUsable(opened.store);
    assert.deepEqual(opened.log, []);
  });

  it('is passed by with a wrong password, says why once, and is used when the password is right', async () => {
    const server = await start({ args: ['--requirepass', 'right'], client: { password: 'right' } });
    for (const password of ['wrong', null]) {
      const opened = openAt({ url: `redis://${server.address}`, password });
      await until('it is in the log', () => warnings(opened).length > 0);
      assert.match(String(warnings(opened)[0]?.reason), password === null ? /NOAUTH/ : /WRONGPASS/);
      await assertNoWaiting(opened.store);
      await server.admin.config('SET', 'requirepass', password ?? '');
      await opened.trusted();
      await server.admin.config('SET', 'requirepass', 'right');
      assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
    }
  });

  it('is not used over TLS when its certificate is not trusted', async () => {
    const server = await startTlsRedis('secret');
    closers.push(() => server.stop());
    const relay = await relayTo(server);
    const opened = openAt({ url: `rediss://${relay.address}`, password: 'secret' });
    await until('it is in the log', () => warnings(opened).length === 1);
    assert.match(String(warnings(opened)[0]?.reason), /certificate/);
    await until('it was tried again', () => relay.connections() >= 3);
    await assertNoWaiting(opened.store);
  });

  it('covers a write that it was not told of, also for an instance that saw nothing of it', async () => {
    const server = await start();
    const relay = await relayTo(server);
    const direct = await open(server);
    const cutOff = await open(relay);
    await direct.trusted();
    await fill(direct.store, value);
    relay.refuse(true);
    await cutOff.lost();
    assert.equal(await write(cutOff.store), false);
    assert.deepEqual(await found(direct.store), value, 'the exception: nobody could tell it');
    relay.refuse(false);
    await until('it is gone', async () => (await found(direct.store)) === null);
    assert.deepEqual(direct.log, [], 'it saw no trouble');
  });

  it('covers a write that began before and ended after it was lost', async () => {
    const server = await start();
    const relay = await relayTo(server);
    const direct = await open(server);
    const cutOff = await open(relay);
    await direct.trusted();
    await fill(direct.store, value);
    const change = { id: 'a', scope: slot.scope, items: [slot.item] };
    assert.equal(await cutOff.store.beginWrite(change), true);
    relay.refuse(true);
    await cutOff.lost();
    assert.equal(await cutOff.store.endWrite(change), false);
    assert.equal(await found(direct.store), null);
    const ticket = await ticketOf(direct.store, slot);
    assert.equal(
      (await direct.store.fill(slot, ticket, value, 0)).stored,
      false,
      'its beginning keeps fills out',
    );
  });

  it('is filled at once when it is back, though it heard of the beginning of a write only', async () => {
    const server = await start();
    const opened = await open(server);
    server.pause();
    assert.equal(await write(opened.store), false);
    server.resume();
    await opened.trusted();
    assert.equal(await server.admin.hget(keys.words, 'writes'), null);
    await fill(opened.store, newer);
    assert.deepEqual(await found(opened.store), newer);
  });

  it('is not believed before it has answered for a while: others that find it later take writes meanwhile', async () => {
    const server = await start();
    const relay = await relayTo(server);
    const settleMs = 500;
    const early = await open(server, settleMs);
    const late = await open(relay, settleMs);
    await early.trusted();
    await server.kill();
    await Promise.all([early.lost(), late.lost()]);
    relay.refuse(true);
    await server.start();
    await until('the first is there', async () => early.store.beginWrite({ id: 'a', scope: 'x', items: [] }));
    assert.equal((await early.store.lookup(slot)).kind, 'unavailable', 'there, and does not believe');
    assert.equal(await write(late.store), false);
    relay.refuse(false);
    await until('the second tells of its writes', () => write(late.store));
    assert.equal((await late.store.lookup(slot)).kind, 'unavailable');
    await Promise.all([early.trusted(), late.trusted()]);
  });

  it('does not believe a replica that took over and is behind (Sentinel)', async () => {
    const group = await startSentinelGroup('mymaster');
    closers.push(() => group.stop());
    const sentinels = group.sentinels.map(({ address }) => address).join(',');
    const opened = openAt({ url: `redis-sentinel://${sentinels}?name=mymaster` });
    await opened.trusted();
    await fill(opened.store, value);
    await until('the replica has it', async () => (await group.replica.admin.exists(keys.entry(slot))) === 1);
    // From here on the replica hears nothing, and is promoted without the write.
    group.replica.pause();
    await group.primary.admin.client('KILL', 'TYPE', 'replica');
    assert.equal(await write(opened.store), true);
    await group.primary.kill();
    group.replica.resume();
    await opened.trusted();
    assert.equal(await found(opened.store), null);
    await assertUsable(opened.store);
    assert.deepEqual([warnings(opened).length, recoveries(opened).length], [1, 1]);
  });

  it('asks the next sentinel where one does not answer', async () => {
    const group = await startSentinelGroup('mymaster');
    closers.push(() => group.stop());
    const [silent, other] = group.sentinels;
    assert.ok(silent && other);
    const relay = await relayTo(silent);
    relay.swallow(true);
    const opened = openAt({ url: `redis-sentinel://${relay.address},${other.address}?name=mymaster` });
    await opened.trusted();
  });

  it('does not believe a replica that took over and is behind (Cluster)', async () => {
    const cluster = await startCluster({ replicas: true });
    closers.push(() => cluster.stop());
    const url = `redis-cluster://${cluster.nodes.map(({ address }) => address).join(',')}`;
    const a = openAt({ url });
    const idle = openAt({ url });
    await Promise.all([a.trusted(), idle.trusted()]);
    await a.trusted();
    await fill(a.store, value);
    await until('the replica has it', async () => (await owners(cluster.nodes, keys.entry(slot))) !== null);
    const place = await owners(cluster.nodes, keys.entry(slot));
    assert.ok(place);
    place.replica.pause();
    await place.primary.admin.client('KILL', 'TYPE', 'replica');
    assert.equal(await write(a.store), true);
    await place.primary.kill();
    place.replica.resume();
    await place.replica.admin.call('CLUSTER', 'FAILOVER', 'TAKEOVER').catch(() => {});
    await until('it took over', async () =>
      (await place.replica.admin.info('replication')).includes('role:master'),
    );
    for (const one of [idle, a]) {
      await one.trusted();
      assert.equal(await found(one.store), null);
      assert.ok(warnings(one).length >= 1);
    }
    await assertUsable(a.store);
  });
});

/** Where a key of a cluster is; null until its replica has it too. */
async function owners(
  nodes: readonly RedisServer[],
  key: string,
): Promise<{ primary: RedisServer; replica: RedisServer } | null> {
  const have = await Promise.all(nodes.map(async ({ admin }) => (await admin.keys('*')).includes(key)));
  const holders = nodes.filter((_, i) => have[i]);
  const roles = await Promise.all(holders.map(({ admin }) => admin.info('replication')));
  const primary = holders[roles.findIndex((role) => role.includes('role:master'))];
  const replica = holders[roles.findIndex((role) => role.includes('role:slave'))];
  return primary && replica ? { primary, replica } : null;
}

async function ticketOf(store: CacheStore, at: Slot): Promise<string> {
  const lookup = await store.lookup(at);
  return lookup.kind === 'unavailable' ? '' : lookup.ticket;
}

async function fill(store: CacheStore, bytes: Buffer, at = slot): Promise<void> {
  assert.equal((await store.fill(at, await ticketOf(store, at), bytes, 0)).stored, true);
}

async function found(store: CacheStore): Promise<Buffer | null> {
  const lookup = await store.lookup(slot);
  return lookup.kind === 'found' ? lookup.value : null;
}

/** Whether it could be told of the whole write. */
async function write(store: CacheStore): Promise<boolean> {
  const change = { id: randomBytes(8).toString('hex'), scope: slot.scope, items: [slot.item] };
  const begun = await store.beginWrite(change);
  return (await store.endWrite(change)) && begun;
}

async function assertUsable(store: CacheStore): Promise<void> {
  assert.equal(await write(store), true);
  assert.equal(await found(store), null);
  await fill(store, newer);
  assert.deepEqual(await found(store), newer);
}

async function assertPassedBy(store: CacheStore): Promise<void> {
  assert.equal((await store.lookup(slot)).kind, 'unavailable');
  assert.deepEqual(await store.fill(slot, '', value, 0), { stored: false, evicted: 0 });
  assert.equal(await write(store), false);
  assert.equal(await store.stats(), null);
}

/** Each operation is over before a timer of 0 ms is: nothing was asked. */
async function assertNoWaiting(store: CacheStore): Promise<void> {
  const operations = (async () => {
    for (let i = 0; i < 100; i += 1) await assertPassedBy(store);
    return 'over';
  })();
  const first = await Promise.race([operations, new Promise((resolve) => setImmediate(resolve, 'waited'))]);
  assert.equal(first, 'over');
}
