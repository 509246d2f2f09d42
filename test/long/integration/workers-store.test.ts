import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { CacheStore, CacheWrite, Slot, StoreLimits } from '../../../src/cache/stores/store.ts';
import { createRandom } from '../../support/random.ts';
import { describeCacheStore } from '../../contract/cache-store.ts';
import { recordHistory, type History } from '../../support/store-history.ts';
import { startStoreProcesses, type Omission, type StoreProcesses } from '../../support/store-processes.ts';

const limits: StoreLimits = { maxBytes: 1024 * 1024, ttlMs: 60_000 };
const slot: Slot = { scope: 'library/app', item: 'latest', variant: '' };
const value = Buffer.from('a manifest');
const seed = Number(process.env['SEED'] ?? '1');
const runMs = Number(process.env['HISTORY_MS'] ?? '2500');

describeCacheStore({
  name: 'memory of three processes',
  skip: false,
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  open: async (special) => {
    const processes = await startStoreProcesses({ count: 3, limits: special });
    const [writer, reader] = processes.stores;
    if (!writer || !reader) throw new Error('there are too few');
    return {
      writer,
      filler: reader,
      reader,
      pass: (ms) => processes.pass(ms),
      close: () => processes.close(),
    };
  },
});

describe('memory stores of several processes', { timeout: 360_000 }, () => {
  const withStores = async (
    count: number,
    test: (processes: StoreProcesses, ...stores: [CacheStore, CacheStore]) => Promise<void>,
    limitMs?: number,
  ) => {
    const processes = await startStoreProcesses({
      count,
      limits,
      ...(limitMs === undefined ? {} : { limitMs }),
    });
    const [first, second] = processes.stores;
    if (!first || !second) throw new Error('there are too few');
    try {
      await test(processes, first, second);
    } finally {
      await processes.close();
    }
  };
  const change = (): CacheWrite => ({
    id: randomBytes(8).toString('hex'),
    scope: slot.scope,
    items: [slot.item],
  });
  const fill = async (store: CacheStore): Promise<boolean> => {
    const lookup = await store.lookup(slot);
    if (lookup.kind === 'unavailable') return false;
    return (await store.fill(slot, lookup.ticket, value, 0)).stored;
  };

  it('a write begins, and ends, only when one that is stopped goes on', () =>
    withStores(3, async (processes, writer, reader) => {
      assert.equal(await fill(reader), true);
      const written = change();
      for (const phase of ['beginWrite', 'endWrite'] as const) {
        let done = false;
        processes.pause(1);
        const write = writer[phase](written).then((told) => {
          done = true;
          return told;
        });
        // The third has acted on it long since; the writer itself answers others.
        for (let i = 0; i < 50; i += 1)
          await Promise.all([writer.lookup(slot), processes.stores[2]?.lookup(slot)]);
        assert.equal(done, false);
        processes.resume(1);
        assert.equal(await write, true);
        assert.equal((await reader.lookup(slot)).kind, 'absent');
      }
    }));

  it('or when it is gone, since it does not answer in time', () =>
    withStores(
      2,
      async (processes, writer, reader) => {
        assert.equal(await fill(reader), true);
        processes.pause(1);
        const written = change();
        assert.equal(await writer.beginWrite(written), true);
        assert.equal((await reader.lookup(slot)).kind, 'unavailable', 'it is gone');
        assert.equal(await writer.endWrite(written), true);
      },
      200,
    ));

  it('one that joins during a write fills nothing before its end', () =>
    withStores(2, async (processes, writer, reader) => {
      const written = change();
      await writer.beginWrite(written);
      await processes.kill(1);
      await processes.start(1);
      assert.equal(await fill(reader), false);
      await writer.endWrite(written);
      assert.equal(await fill(reader), true);
    }));

  it('nor when the one that wrote has died, before the write is given up', () =>
    withStores(3, async (processes, reader, writer) => {
      await writer.beginWrite(change());
      await processes.kill(1);
      await processes.start(1);
      assert.equal(await fill(reader), false);
      assert.equal(await fill(writer), false);
      await processes.pass(60_001);
      assert.equal(await fill(reader), true);
      assert.equal(await fill(writer), true);
    }));
});

describe('no process gives an older version than one that was acknowledged', { timeout: 360_000 }, () => {
  const troubles: Readonly<
    Record<string, (processes: StoreProcesses, random: () => number) => Promise<void>>
  > = {
    none: () => delay(100),
    'one stopped for a while': async (processes, random) => {
      const index = Math.floor(random() * 3);
      processes.pause(index);
      await delay(random() * 150);
      processes.resume(index);
    },
    'one killed, another in its place': async (processes, random) => {
      const index = Math.floor(random() * 3);
      await processes.kill(index);
      await processes.start(index);
    },
    'one stopped until it is killed, another in its place': async (processes, random) => {
      const index = Math.floor(random() * 3);
      processes.pause(index);
      await delay(random() * 500);
      await processes.kill(index);
      await processes.start(index);
    },
  };
  for (const [name, trouble] of Object.entries(troubles)) {
    it(`in trouble: ${name}`, async (t) => {
      const history = await run(name, trouble, null);
      report(t, history);
      assert.deepEqual(history.violations, []);
      assert.ok(history.hits > 50 && history.writes > 15);
    });
  }

  for (const omission of ['telling', 'acting before it says so'] as const) {
    it(`and it would be found: without ${omission} some do`, async (t) => {
      const stopOne = troubles['one stopped for a while'] ?? assert.fail();
      let found = 0;
      // What is broken shows by chance: on a busy machine not in every run.
      for (let attempt = 0; attempt < 5 && found === 0; attempt++) {
        const history = await run(omission, stopOne, omission);
        report(t, history);
        found = history.violations.length;
      }
      assert.ok(found > 0);
    });
  }
});

async function run(
  name: string,
  trouble: (processes: StoreProcesses, random: () => number) => Promise<void>,
  omission: Omission | null,
): Promise<History> {
  const random = createRandom(seed + name.length);
  const processes = await startStoreProcesses({ count: 3, limits, omission });
  const stop = new AbortController();
  try {
    const recording = recordHistory({
      stores: processes.stores,
      random,
      itemCount: 6,
      readers: 3,
      writers: 2,
      signal: stop.signal,
      untoldIsLost: true,
    });
    const endsAtMs = performance.now() + runMs;
    while (performance.now() < endsAtMs) {
      await delay(random() * 200);
      await trouble(processes, random);
    }
    stop.abort();
    return await recording;
  } finally {
    stop.abort();
    await processes.close();
  }
}

function report(t: TestContext, { violations, ...figures }: History): void {
  const text = Object.entries(figures).map(([key, count]) => `${count} ${key}`);
  t.diagnostic(`${text.join(', ')}, ${violations.length} violations`);
}
