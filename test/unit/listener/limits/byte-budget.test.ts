import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createByteBudget } from '../../../../src/listener/limits/byte-budget.ts';

const KiB = 1024;

/** A connection that holds so much; `closed` gets its number when it is closed. */
const holding = (bytes: number, number: number, closed: number[]) => ({
  bytes,
  close: () => closed.push(number),
});

/** What is closed of connections that hold so much, when they are looked at. */
const closedOf = (limitBytes: number, held: readonly number[], leaving: readonly number[] = []): number[] => {
  const closed: number[] = [];
  let over = 0;
  const budget = createByteBudget<ReturnType<typeof holding>>({
    maxBytes: limitBytes,
    heldBytes: ({ bytes }) => bytes,
    onOver: () => (over += 1),
  });
  const connections = held.map((bytes, i) => holding(bytes, i, closed));
  for (const connection of connections) budget.enter(connection);
  for (const [i, connection] of connections.entries()) if (leaving.includes(i)) budget.leave(connection);
  for (let i = 0; i < 64; i++) budget.noteMore();
  budget.close();
  assert.equal(over, closed.length);
  return closed;
};

describe('what connections hold together', () => {
  test('within the limit nobody is closed', () => {
    assert.deepEqual(closedOf(100 * KiB, [50 * KiB, 50 * KiB]), []);
  });

  test('beyond it those go that hold the most, until the rest fits', () => {
    assert.deepEqual(closedOf(100 * KiB, [10 * KiB, 60 * KiB, 20 * KiB, 90 * KiB]), [3]);
    assert.deepEqual(closedOf(30 * KiB, [10 * KiB, 60 * KiB, 20 * KiB, 90 * KiB]), [3, 1]);
  });

  test('of those that hold the same, the first to come', () => {
    assert.deepEqual(closedOf(20 * KiB, [10 * KiB, 10 * KiB, 10 * KiB]), [0]);
  });

  test('none that holds what an honest client sends, however many there are', () => {
    assert.deepEqual(closedOf(64 * KiB, [...Array<number>(60).fill(4 * KiB), 5 * KiB]), [60]);
  });

  test('what has left does not count', () => {
    assert.deepEqual(closedOf(30 * KiB, [1000 * KiB, 20 * KiB], [0]), []);
  });
});
