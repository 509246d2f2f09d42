import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBodyBuffers } from '../../../src/upstream/body/body-buffers.ts';
import { createRelayBudget } from '../../../src/upstream/body/relay-budget.ts';

const KiB = 1024;
const roomy = () => createRelayBudget(1024 * 1024 * KiB);

describe('createBodyBuffers', () => {
  test('a body gets small buffers first, then larger ones, up to the largest', () => {
    const body = createBodyBuffers(roomy())();
    const lengths = Array.from({ length: 96 }, () => body.take().length / KiB);
    assert.deepEqual(
      [0, 15, 16, 31, 32, 63, 64, 95].map((i) => lengths[i]),
      [32, 32, 64, 64, 128, 256, 512, 512],
    );
  });

  test('the more waits, the smaller the buffers, down to the smallest; a fast reader costs the others nothing', () => {
    const budget = createRelayBudget(8192 * KiB);
    const open = createBodyBuffers(budget);
    const body = open();
    for (let i = 0; i < 64; i++) body.giveBack(body.take());
    const sizeWith = (waitingBytes: number) => {
      budget.take(waitingBytes);
      const buffer = body.take();
      body.giveBack(buffer);
      budget.give(waitingBytes);
      return buffer.length / KiB;
    };
    assert.deepEqual(
      [0, 1, 4096, 6144, 8192, 99_999].map((kib) => sizeWith(kib * KiB)),
      [512, 256, 256, 128, 16, 16],
    );
  });

  test('what a cut body did not give back waits no more', () => {
    const budget = createRelayBudget(1024 * KiB);
    const body = createBodyBuffers(budget)();
    const taken = Array.from({ length: 64 }, () => body.take());
    assert.equal(budget.pieceBytes(), 16 * KiB);
    body.forget();
    assert.equal(budget.pieceBytes(), 64 * KiB);
    for (const buffer of taken) body.giveBack(buffer); // late ones are not counted twice
    assert.equal(budget.pieceBytes(), 64 * KiB);
  });

  test('a buffer is handed out to one at a time, and again when it is given back', () => {
    const open = createBodyBuffers(roomy());
    const [one, other] = [open(), open()];
    const first = one.take();
    const second = other.take();
    assert.notEqual(first, second);
    one.giveBack(first);
    assert.equal(other.take(), first);
    assert.notEqual(other.take(), first);
  });

  test('many bodies use the same memory again and again, and give most of it back at their end', () => {
    const open = createBodyBuffers(createRelayBudget(16 * 1024 * KiB));
    const bodies = Array.from({ length: 200 }, () => open());
    const passPiece = () => {
      const held = bodies.map((body) => ({ body, buffer: body.take() }));
      for (const { body, buffer } of held) body.giveBack(buffer);
      return new Set(held.map(({ buffer }) => buffer));
    };
    const first = passPiece();
    for (const buffer of passPiece()) assert.ok(first.has(buffer));
    for (const body of bodies) body.forget();
    const keptBytes = [...first].reduce((sum, { length }) => sum + length, 0);
    assert.equal(keptBytes, 4096 * KiB); // freed ones are empty
  });

  test('what is held and what is kept is no more than the budget together', () => {
    const budget = createRelayBudget(16 * 1024 * KiB);
    const open = createBodyBuffers(budget);
    const bodies = Array.from({ length: 300 }, () => open());
    const held = bodies.map((body) => ({ body, buffer: body.take() }));
    for (const { body, buffer } of held) body.giveBack(buffer);
    const keptBytes = () => held.reduce((sum, { buffer }) => sum + buffer.length, 0);
    assert.equal(keptBytes(), 300 * 32 * KiB);
    const body = open();
    for (let i = 0; i < 16; i++) body.giveBack(body.take());
    budget.take(10 * 1024 * KiB);
    assert.equal(body.take().length, 64 * KiB); // of a size that nothing kept has
    assert.ok(keptBytes() < 6 * 1024 * KiB, `${keptBytes()}`);
  });
});
