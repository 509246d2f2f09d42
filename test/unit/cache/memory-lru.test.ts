import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createMemoryStore } from '../../../src/cache/stores/memory-store.ts';
import { createTrace, perfectHitRatio, playTrace } from '../../contract/lru.ts';

const maxBytes = 1024 * 1024;

it('keeps its bound, and hits as often as a perfect LRU', async (t) => {
  const trace = createTrace(20_000);
  const store = createMemoryStore({ maxBytes, ttlMs: 3_600_000 }, () => 0);
  let largest = 0;
  const { hitRatio } = await playTrace(store, trace, async () => {
    largest = Math.max(largest, (await store.stats())?.bytes ?? Infinity);
  });
  const perfect = perfectHitRatio(trace, maxBytes);
  t.diagnostic(
    `memory: hit ratio ${hitRatio.toFixed(4)}, perfect LRU ${perfect.toFixed(4)}, at most ${largest} bytes`,
  );
  assert.ok(largest <= maxBytes);
  assert.ok(largest > maxBytes * 0.95, 'it uses what it may');
  assert.ok(perfect - hitRatio < 0.03);
});
