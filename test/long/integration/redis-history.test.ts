import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { CacheStore } from '../../../src/cache/stores/store.ts';
import { createRandom } from '../../support/random.ts';
import { openTestStore, type TestStore } from '../../support/redis-store.ts';
import { startRedis, startRelay, type RedisServer, type Relay } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { recordHistory, type History, type HistoryOptions } from '../../support/store-history.ts';

/** A round of trouble; everything is well again when it resolves. */
type Trouble = (place: Place) => Promise<void>;
type Place = {
  readonly server: RedisServer;
  /** Between the last store and Redis. */
  readonly relay: Relay;
  readonly random: () => number;
};

const seed = Number(process.env['SEED'] ?? '1');
const runMs = Number(process.env['HISTORY_MS'] ?? '2000');

const sharedTroubles: Readonly<Record<string, Trouble>> = {
  hang: async ({ server, random }) => {
    server.pause();
    await delay(20 + random() * 400);
    server.resume();
  },
  // With the loss of what was not saved yet.
  restart: async ({ server, random }) => {
    await server.admin.call('SAVE');
    await delay(random() * 300);
    await server.kill();
    await delay(random() * 200);
    await server.start();
  },
  'restart, and one finds it later than the others': async ({ server, relay, random }) => {
    relay.refuse(true);
    await server.kill();
    await server.start();
    await delay(random() * 400);
    relay.refuse(false);
  },
  'all clients killed': async ({ server }) => {
    await server.admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  },
  FLUSHALL: async ({ server }) => {
    await server.admin.flushall();
  },
  'keys evicted': async ({ server, random }) => {
    for (const key of await server.admin.keys('*')) if (random() < 0.5) await server.admin.del(key);
  },
  full: async ({ server, random }) => {
    await server.admin.config('SET', 'maxmemory', '1');
    await delay(random() * 300);
    await server.admin.config('SET', 'maxmemory', '0');
  },
};
const privateTroubles: Readonly<Record<string, Trouble>> = {
  'one stalled': async ({ relay, random }) => {
    relay.stall();
    await delay(20 + random() * 600);
    relay.flow();
  },
  'one cut': async ({ relay }) => {
    relay.cut();
    await Promise.resolve();
  },
  'one cut off': async ({ relay, random }) => {
    relay.refuse(true);
    await delay(random() * 500);
    relay.refuse(false);
  },
};

/** On a slow machine most of the time passes before Redis is trusted again: so that there is something to check, not fewer. */
const minRounds = 6;

describe(
  'no store gives an older version than one that was acknowledged',
  { skip: unlessInstalled('redis-server'), concurrency: 2 },
  () => {
    for (const [name, trouble] of Object.entries(sharedTroubles)) {
      it(`while Redis is in trouble: ${name}`, async (t) => {
        const { history, rounds } = await run(name, trouble, {});
        report(t, `${name}, ${rounds} times`, history);
        assert.deepEqual(history.violations, []);
        assert.ok(history.hits > 50 && history.writes > 15);
      });
    }

    for (const [name, trouble] of Object.entries(privateTroubles)) {
      it(`while one instance is in trouble, but for the time that it is: ${name}`, async (t) => {
        const { history, rounds } = await run(name, trouble, { isPrivate: true });
        report(t, `${name}, ${rounds} times`, history);
        assert.deepEqual(history.violations, []);
        assert.ok(history.hits > 50 && history.writes > 15);
      });
    }

    it('and it would be found: without the comparison of tickets some do', async (t) => {
      const { history } = await run('no trouble, tickets not compared', () => delay(50), {
        wrap: (store) => ({
          ...store,
          fill: async (slot, _ticket, value, ageMs) => {
            const lookup = await store.lookup(slot);
            if (lookup.kind === 'unavailable') return { stored: false, evicted: 0 };
            return store.fill(slot, lookup.ticket, value, ageMs);
          },
        }),
      });
      report(t, 'tickets not compared', history);
      assert.ok(history.violations.length > 0);
    });

    it('and it would be found: when the end of writes is not told some do', async (t) => {
      const { history } = await run('no trouble, writes told to nobody', () => delay(50), {
        wrap: (store) => ({
          ...store,
          endWrite: () => Promise.resolve(true),
          beginWrite: () => Promise.resolve(true),
        }),
      });
      report(t, 'writes told to nobody', history);
      assert.ok(history.violations.length > 0);
    });
  },
);

async function run(
  name: string,
  trouble: Trouble,
  { isPrivate = false, wrap }: { isPrivate?: boolean; wrap?: (store: CacheStore) => CacheStore },
): Promise<{ history: History; rounds: number }> {
  const random = createRandom(seed + name.length);
  const server = await startRedis();
  const relay = await startRelay(server.port);
  const options = { timeoutMs: 100, settleMs: 1000, ttlMs: 60_000 };
  const opened: TestStore[] = [server, server, relay].map(({ address }) =>
    openTestStore({ ...options, address }),
  );
  const allTrusted = () => Promise.all(opened.map(({ trusted }) => trusted()));
  const stop = new AbortController();
  const last = opened.length - 1;
  let isCutOff = false;
  try {
    await allTrusted();
    const historyOptions: HistoryOptions = {
      stores: opened.map(({ store }) => (wrap ? wrap(store) : store)),
      random,
      readers: 3,
      // Without trouble a store is late for the time of one fetch only: fewer items, written more often.
      ...(wrap ? { itemCount: 4, writers: 4 } : { itemCount: 40, writers: 1 }),
      signal: stop.signal,
      ...(isPrivate ? { excuse: (writer, reader) => isCutOff && writer === last && reader !== last } : {}),
    };
    const recording = recordHistory(historyOptions);
    const endsAtMs = performance.now() + runMs;
    let rounds = 0;
    while (performance.now() < endsAtMs || rounds < minRounds) {
      await delay(100 + random() * 800);
      isCutOff = true;
      await trouble({ server, relay, random });
      await allTrusted();
      isCutOff = false;
      rounds += 1;
    }
    stop.abort();
    return { history: await recording, rounds };
  } finally {
    stop.abort();
    await Promise.all(opened.map(({ store }) => store.close()));
    await relay.close();
    await server.stop();
  }
}

function report(t: TestContext, name: string, { violations, ...figures }: History): void {
  const text = Object.entries(figures).map(([key, value]) => `${value} ${key}`);
  t.diagnostic(`${name}: ${text.join(', ')}, ${violations.length} violations`);
}
