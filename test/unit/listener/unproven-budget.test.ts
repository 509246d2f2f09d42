import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createUnprovenBudget, type UnprovenConnection } from '../../../src/listener/unproven-budget.ts';

const KiB = 1024;

/** A connection that holds so much; `closed` gets its number when it is closed. */
const holding = (bytes: number, number: number, closed: number[], isProven = false): UnprovenConnection => ({
  isProven: () => isProven,
  heldBytes: () => bytes,
  close: () => closed.push(number),
});

/** What is closed of connections that hold so much, when they are looked at. */
const closedOf = (limitBytes: number, held: readonly number[], proven: readonly number[] = []): number[] => {
  const closed: number[] = [];
  let over = 0;
  const budget = createUnprovenBudget(limitBytes, () => (over += 1));
  held.forEach((bytes, i) => budget.enter(holding(bytes, i, closed, proven.includes(i))));
  for (let i = 0; i < 64; i++) budget.noteMore();
  budget.close();
  assert.equal(over, closed.length);
  return closed;
};

describe('what connections without a user hold together', () => {
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

  test('what has become proven does not count', () => {
    assert.deepEqual(closedOf(30 * KiB, [1000 * KiB, 20 * KiB], [0]), []);
  });
});
