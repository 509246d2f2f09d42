import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createSharedLookups } from '../../../src/cache/shared-lookups.ts';

/** Lookups of a value that changes; each shows what was so when it began, and ends when the test says. */
function openLookups() {
  const share = createSharedLookups<number>();
  const underWay: { end: () => void; fail: () => void }[] = [];
  let current = 0;
  let begun = 0;
  const ask = (key = 'a') =>
    share(key, () => {
      begun += 1;
      const seen = current;
      return new Promise<number>((resolve, reject) => {
        underWay.push({ end: () => resolve(seen), fail: () => reject(new Error('no answer')) });
      });
    });
  /** Ends the oldest, and lets those act who waited for it. */
  const settle = async (how: 'end' | 'fail' = 'end') => {
    underWay.shift()?.[how]();
    for (let i = 0; i < 10; i += 1) await Promise.resolve();
  };
  return { ask, settle, write: () => (current += 1), begun: () => begun };
}

describe('lookups that are shared', () => {
  test('those who come during one share the next', async () => {
    const { ask, settle, begun } = openLookups();
    const all = Array.from({ length: 32 }, () => ask());
    assert.equal(begun(), 1);
    await settle();
    assert.equal(begun(), 2);
    await settle();
    await Promise.all(all);
    assert.equal(begun(), 2);
    const later = ask();
    assert.equal(begun(), 3, 'nobody is under way any more');
    await settle();
    await later;
  });

  test('no answer comes from a lookup that began before its request', async () => {
    const { ask, settle, write } = openLookups();
    const asked: { promise: Promise<number>; atLeast: number }[] = [];
    for (let round = 0; round < 20; round += 1) {
      for (let i = 0; i < 3; i += 1) asked.push({ promise: ask(), atLeast: write() - 1 });
      await settle();
      asked.push({ promise: ask(), atLeast: write() - 1 });
    }
    await settle();
    await settle();
    for (const { promise, atLeast } of asked) assert.ok((await promise) >= atLeast);
  });

  test('when one fails, those who wait for the next get that', async () => {
    const { ask, settle } = openLookups();
    const first = ask();
    const second = ask();
    const refused = assert.rejects(first, /no answer/);
    await settle('fail');
    await settle();
    await refused;
    assert.equal(await second, 0);
  });

  test('one key does not wait for another', async () => {
    const { ask, settle, begun } = openLookups();
    const both = [ask('a'), ask('b')];
    assert.equal(begun(), 2);
    await settle();
    await settle();
    await Promise.all(both);
  });
});
