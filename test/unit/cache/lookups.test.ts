import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createLookups, smallBytes, type LookedUp } from '../../../src/cache/lookups.ts';
import type { Lookup, Slot } from '../../../src/cache/stores/store.ts';

const slot: Slot = { scope: 'app', item: 'v1', variant: '' };
const large = 4 * smallBytes;
const found = (value: Buffer): Lookup => ({ kind: 'found', value, ticket: 't' });

/** Lookups in a store that holds what the test says, and is asked as often as `asked` says; large ones wait for `release`. */
function openLookups(roomBytes: number, held: { bytes: number }) {
  const asked: number[] = [];
  const waiting: (() => void)[] = [];
  let freeBytes = roomBytes;
  const lookUp = createLookups(
    {
      lookup: async (_slot, maxBytes = Infinity) => {
        asked.push(maxBytes);
        const { bytes } = held; // what is so when it is asked
        if (maxBytes > smallBytes) await new Promise<void>((resolve) => waiting.push(resolve));
        return bytes > maxBytes ? { kind: 'large', bytes, ticket: 't' } : found(Buffer.alloc(bytes));
      },
    },
    {
      take: (bytes) => bytes <= freeBytes && ((freeBytes -= bytes), true),
      give: (bytes) => (freeBytes += bytes),
    },
  );
  /** Answers the lookups that wait, one after the other, until none does. */
  const release = async () => {
    for (let idle = 0; idle < 20; idle += 1) {
      await Promise.resolve();
      const next = waiting.shift();
      if (next) idle = 0;
      next?.();
    }
  };
  return { lookUp, asked, release, free: () => freeBytes };
}

const many = (count: number, lookUp: (at: Slot) => Promise<LookedUp>) =>
  Array.from({ length: count }, () => lookUp(slot));

describe('lookups', () => {
  test('a small value is asked for by each, at once', async () => {
    const { lookUp, asked } = openLookups(0, { bytes: smallBytes });
    const all = await Promise.all(many(50, lookUp));
    assert.ok(all.every(({ kind }) => kind === 'found'));
    assert.deepEqual(asked, Array(50).fill(smallBytes));
  });

  test('a large one is asked for by those who wait together, and never by a lookup from before they came', async () => {
    const held = { bytes: large };
    const { lookUp, asked, release, free } = openLookups(large, held);
    const early = many(50, lookUp);
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
    assert.equal(asked.filter((maxBytes) => maxBytes === large).length, 1);
    held.bytes = large - 1; // a write, after which somebody comes
    const late = lookUp(slot);
    await release();
    const sizes = (await Promise.all([...early, late])).map((each) =>
      each.kind === 'found' ? each.value.length : 0,
    );
    assert.equal(sizes[0], large);
    assert.equal(sizes.at(-1), large - 1);
    assert.equal(asked.filter((maxBytes) => maxBytes > smallBytes).length, 2);
    // Known to be large, it is not asked for its size any more.
    const again = lookUp(slot);
    await release();
    assert.equal((await again).kind, 'found');
    assert.equal(asked.filter((maxBytes) => maxBytes === smallBytes).length, 50);
    assert.equal(free(), large);
  });

  test('without room it is passed by, and small ones are not', async () => {
    const held = { bytes: large };
    const { lookUp, release } = openLookups(large, held);
    const first = lookUp(slot);
    const other = lookUp({ ...slot, item: 'v2' });
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
    held.bytes = 10;
    assert.equal((await lookUp({ ...slot, item: 'v3' })).kind, 'found');
    assert.equal((await other).kind, 'crowded');
    await release();
    assert.equal((await first).kind, 'found');
  });
});
