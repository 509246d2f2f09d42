import assert from 'node:assert/strict';
import { createRandom } from '../support/random.ts';
import type { CacheStore, Slot } from '../../src/cache/stores/store.ts';

/** One request of a trace: which entry, and how large it is. */
export type TraceStep = { readonly slot: Slot; readonly bytes: number };

const entryCount = 2000;
/** How many requests come to the entry of a rank: rank ** -skew. */
const skew = 0.9;

/** Requests for manifests of 10 MiB in all, distributed by Zipf's law; the same for the same seed. */
export function createTrace(length: number, seed = 1): TraceStep[] {
  // 1 to 9.5 KiB, 5.2 KiB on average: manifests of few and of many layers.
  const randomSize = createRandom(0);
  const sizes = Array.from({ length: entryCount }, () => 1000 + Math.floor(randomSize() * 8486));
  const weights = sizes.map((_, rank) => (rank + 1) ** -skew);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const random = createRandom(seed);
  let sum = 0;
  const cumulative = weights.map((weight) => (sum += weight / total));
  return Array.from({ length }, () => {
    const point = random();
    const found = cumulative.findIndex((bound) => point < bound);
    const rank = found === -1 ? entryCount - 1 : found;
    const slot = { scope: `repository${rank % 40}`, item: `sha256:${rank}`, variant: '' };
    return { slot, bytes: sizes[rank] ?? 0 };
  });
}

/** The share of hits of a least-recently-used cache that has no bookkeeping to pay for. */
export function perfectHitRatio(trace: readonly TraceStep[], maxBytes: number): number {
  const kept = new Map<string, number>();
  let keptBytes = 0;
  let hits = 0;
  for (const { slot, bytes } of trace) {
    if (kept.delete(slot.item)) hits += 1;
    else keptBytes += bytes;
    kept.set(slot.item, bytes);
    for (const [oldest, size] of kept) {
      if (keptBytes <= maxBytes) break;
      kept.delete(oldest);
      keptBytes -= size;
    }
  }
  return hits / trace.length;
}

/** Plays a trace against a store: a miss is filled. `afterStep` gets the number of the step. */
export async function playTrace(
  store: CacheStore,
  trace: readonly TraceStep[],
  afterStep: (step: number) => Promise<void>,
): Promise<{ readonly hitRatio: number }> {
  let hits = 0;
  for (const [step, { slot, bytes }] of trace.entries()) {
    const lookup = await store.lookup(slot);
    assert.notEqual(lookup.kind, 'unavailable');
    if (lookup.kind === 'found') {
      assert.equal(lookup.value.length, bytes);
      hits += 1;
    } else if (lookup.kind === 'absent') {
      await store.fill(slot, lookup.ticket, Buffer.alloc(bytes, step), 0);
    }
    await afterStep(step);
  }
  return { hitRatio: hits / trace.length };
}
