import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hashBytes } from '../../../src/cache/entry.ts';
import type { CacheStore, Lookup, Slot } from '../../../src/cache/stores/store.ts';
import { createRandom } from '../../support/random.ts';
import { openTestStore } from '../../support/redis-store.ts';
import { startRedis, type RedisServer } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { recordHistory, type History } from '../../support/store-history.ts';

const runMs = Number(process.env['HISTORY_MS'] ?? '3000');

describe(
  'no store gives an older version that it holds in memory than one that was acknowledged',
  { skip: unlessInstalled('redis-server'), concurrency: 2, timeout: 240_000 },
  () => {
    it('in peace', async () => {
      const { history, again } = await run(() => delay(50));
      assert.deepEqual(history.violations, []);
      assert.ok(
        again > 100 && history.writes > 15,
        `${again} hits of what was held, ${history.writes} writes`,
      );
    });

    it('while keys are evicted', async () => {
      const random = createRandom(1);
      const { history, again } = await run(async ({ admin }) => {
        await delay(20);
        for (const key of await admin.keys('*')) if (random() < 0.2) await admin.del(key);
      });
      assert.deepEqual(history.violations, []);
      assert.ok(
        again > 20 && history.writes > 15,
        `${again} hits of what was held, ${history.writes} writes`,
      );
    });

    it('and it would be found: when a lookup under way is joined some do', async () => {
      const { history } = await run(() => delay(50), joinUnderWay);
      assert.ok(history.violations.length > 0);
    });
  },
);

/** Several readers of each of three stores; `again` counts the hits for which Redis did not send the bytes. */
async function run(
  disturb: (server: RedisServer) => Promise<unknown>,
  wrap = (store: CacheStore) => store,
): Promise<{ history: History; again: number }> {
  const server = await startRedis();
  const opened = [1, 2, 3].map(() => openTestStore({ address: server.address, timeoutMs: 5000 }));
  const seen = new WeakSet<Buffer>();
  let again = 0;
  const noteFound = (value: Buffer) => {
    if (seen.has(value)) again += 1;
    seen.add(value);
  };
  const stop = new AbortController();
  try {
    for (const { trusted } of [...opened, ...opened]) await trusted();
    const recording = recordHistory({
      stores: opened.map(({ store }) => wrap(withHashes(store, noteFound))),
      random: createRandom(2),
      itemCount: 4,
      readers: 4,
      writers: 2,
      signal: stop.signal,
    });
    const endsAtMs = performance.now() + runMs;
    while (performance.now() < endsAtMs) await disturb(server);
    stop.abort();
    return { history: await recording, again };
  } finally {
    stop.abort();
    await Promise.all(opened.map(({ store }) => store.close()));
    await server.stop();
  }
}

/** Stores each value after its hash, as answers are stored: a process holds only such values. */
function withHashes(store: CacheStore, noteFound: (value: Buffer) => void): CacheStore {
  return {
    ...store,
    lookup: async (slot) => {
      const found = await store.lookup(slot);
      if (found.kind !== 'found') return found;
      noteFound(found.value);
      return { ...found, value: found.value.subarray(hashBytes) };
    },
    fill: (slot, ticket, value, ageMs) => {
      const hash = createHash('sha256').update(value).digest();
      return store.fill(slot, ticket, Buffer.concat([hash, value]), ageMs);
    },
  };
}

/** Gives whoever asks the answer of the lookup under way, though it began before. */
function joinUnderWay(store: CacheStore): CacheStore {
  const underWay = new Map<string, Promise<Lookup>>();
  const begin = (slot: Slot) => {
    const lookup = store.lookup(slot).then(async (found) => {
      await delay(20);
      underWay.delete(slot.item);
      return found;
    });
    underWay.set(slot.item, lookup);
    return lookup;
  };
  return { ...store, lookup: (slot) => underWay.get(slot.item) ?? begin(slot) };
}
