import assert from 'node:assert/strict';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { createMemoryStore } from '../../../src/cache/stores/memory-store.ts';
import { createStatsReader } from '../../../src/cache/stores/stats-reader.ts';
import type { CacheStore, StoreStats } from '../../../src/cache/stores/store.ts';

const memory = createMemoryStore({ maxBytes: 1000, ttlMs: 1000 }, () => 0);

test('a store in this process is asked each time', async () => {
  let entries = 0;
  const store: CacheStore = { ...memory, stats: () => Promise.resolve({ entries: ++entries, bytes: 0 }) };
  const read = createStatsReader(store, { isRemote: false, now: () => 0 });
  assert.deepEqual([(await read())?.entries, (await read())?.entries], [1, 2]);
});

test('nobody waits for one behind a network, and it is asked once in 30 seconds, never twice at a time', async () => {
  const answers: ((stats: StoreStats | null) => void)[] = [];
  let nowMs = 0;
  const store: CacheStore = { ...memory, stats: () => new Promise((resolve) => answers.push(resolve)) };
  const read = createStatsReader(store, { isRemote: true, now: () => nowMs });
  assert.equal(await read(), null);
  nowMs = 100_000; // it is slow
  assert.equal(await read(), null);
  assert.equal(answers.length, 1);
  answers[0]?.({ entries: 1, bytes: 10 });
  await loopTurn();
  assert.deepEqual(await read(), { entries: 1, bytes: 10 });
  nowMs += 29_999;
  await read();
  assert.equal(answers.length, 1);
  nowMs += 1;
  assert.deepEqual(await read(), { entries: 1, bytes: 10 }, 'the last answer, until there is a new one');
  answers[1]?.(null);
  await loopTurn();
  assert.equal(await read(), null, 'it could not be asked');
});
