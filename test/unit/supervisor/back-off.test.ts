import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackOff } from '../../../src/supervisor/workers/back-off.ts';

test('the first end is mended at once, those that follow later and later, and a minute of health forgets them', () => {
  let nowMs = 0;
  const backOff = createBackOff(() => nowMs);
  const endAfter = (ms: number) => {
    backOff.started();
    nowMs += ms;
    return backOff.ended();
  };
  assert.deepEqual(
    [5, 59_999, 0, 0, 0, 0, 0, 0].map(endAfter),
    [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
  );
  assert.equal(backOff.ended(), 30_000, 'one that never ran has not recovered');
  assert.equal(endAfter(60_000), 0);
  assert.equal(endAfter(1), 1000);
});

test('three ends in a row are a loop, until it has run for a minute', () => {
  let nowMs = 0;
  const backOff = createBackOff(() => nowMs);
  const loops: boolean[] = [];
  for (let end = 1; end <= 3; end += 1) {
    backOff.started();
    nowMs += 5;
    backOff.ended();
    loops.push(backOff.loops());
  }
  assert.deepEqual(loops, [false, false, true]);
  backOff.started();
  nowMs += 59_999;
  assert.equal(backOff.loops(), true);
  nowMs += 1;
  assert.equal(backOff.loops(), false);
});
