import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBodyBuffers } from '../../../src/upstream/body/body-buffers.ts';

const sizes = { minBytes: 32, maxBytes: 128, totalBytes: 256 };

describe('createBodyBuffers', () => {
  test('a body gets small buffers first, then larger ones, up to the largest', () => {
    const body = createBodyBuffers(sizes)();
    const lengths = Array.from({ length: 64 }, () => body.take().length);
    assert.deepEqual(
      [0, 15, 16, 31, 32, 63].map((i) => lengths[i]),
      [32, 32, 64, 64, 128, 128],
    );
  });

  test('the more bodies, the smaller their buffers, down to the smallest', () => {
    const open = createBodyBuffers(sizes);
    const body = open();
    for (let i = 0; i < 32; i++) body.take();
    const sizeWith = (others: number) => {
      const opened = Array.from({ length: others }, open);
      const { length } = body.take();
      for (const other of opened) other.close();
      return length;
    };
    assert.deepEqual([1, 2, 3, 4, 99].map(sizeWith), [128, 64, 64, 32, 32]);
    assert.equal(sizeWith(0), 128);
  });

  test('a buffer is handed out to one at a time, and again when it is given back', () => {
    const open = createBodyBuffers(sizes);
    const [one, other] = [open(), open()];
    const first = one.take();
    const second = other.take();
    assert.notEqual(first, second);
    one.giveBack(first);
    assert.equal(other.take(), first);
    assert.notEqual(other.take(), first);
  });

  test('no more than the total is kept', () => {
    const body = createBodyBuffers(sizes)();
    const taken = Array.from({ length: 16 }, () => body.take());
    for (const buffer of taken) body.giveBack(buffer);
    const other = createBodyBuffers(sizes)();
    assert.equal(taken.includes(other.take()), false);
    const again = new Set(Array.from({ length: 15 }, () => body.take()));
    assert.equal(taken.filter((buffer) => again.has(buffer)).length, 0); // of the next size by now
  });
});
