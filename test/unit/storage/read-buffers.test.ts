import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createReadBuffers, type ReadBuffers } from '../../../src/storage/read-buffers.ts';

const KiB = 1024;

function take(buffers: ReadBuffers, count: number): Buffer[] {
  return Array.from({ length: count }, () => buffers.takeLarge() ?? assert.fail('none left'));
}

describe('buffers that transfers from storage share', () => {
  test('32 of 512 KiB, and then none', () => {
    const buffers = createReadBuffers();
    const taken = take(buffers, 32);
    assert.ok(taken.every(({ length }) => length === 512 * KiB));
    assert.equal(new Set(taken.map(({ buffer }) => buffer)).size, 32);
    assert.equal(buffers.takeLarge(), null);
    buffers.giveBack(taken[0] ?? assert.fail(), false);
    assert.ok(buffers.takeLarge());
  });

  test('there are plenty while fewer than six are in use', () => {
    const buffers = createReadBuffers();
    const taken = take(buffers, 5);
    assert.equal(buffers.hasPlenty(), true);
    taken.push(...take(buffers, 1));
    assert.equal(buffers.hasPlenty(), false);
    buffers.giveBack(taken[0] ?? assert.fail(), true);
    assert.equal(buffers.hasPlenty(), true);
  });

  test('one is used again only if nothing can still read from it', () => {
    const buffers = createReadBuffers();
    const [kept, lost] = take(buffers, 2);
    buffers.giveBack(kept ?? assert.fail(), true);
    buffers.giveBack(lost ?? assert.fail(), false);
    const [again, fresh] = take(buffers, 2);
    assert.equal(again, kept);
    assert.notEqual(fresh, lost);
  });

  test('after the last transfer eight are kept, and the memory of the others is freed', () => {
    const buffers = createReadBuffers();
    const taken = take(buffers, 32);
    for (const buffer of taken.slice(1)) buffers.giveBack(buffer, true);
    assert.ok(taken.every(({ length }) => length > 0));
    buffers.giveBack(taken[0] ?? assert.fail(), true);
    assert.equal(taken.filter(({ length }) => length > 0).length, 8);
    assert.ok(take(buffers, 32).every(({ length }) => length === 512 * KiB));
  });
});
