import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createCourtesy } from '../../../../src/clean/run/courtesy.ts';
import { createRareCheck } from '../../../../src/clean/run/rare-check.ts';

describe('rests between locks', () => {
  const after = (writes: number, inMs: number): number => {
    let nowMs = 0;
    const courtesy = createCourtesy(() => nowMs);
    courtesy.noteWrites(1000);
    nowMs = inMs;
    courtesy.noteWrites(1000 + writes);
    return courtesy.restMs(40);
  };

  test('none where nobody writes, and none before that is known', () => {
    assert.equal(after(0, 1000), 0);
    const courtesy = createCourtesy(() => 0);
    courtesy.noteWrites(7);
    assert.equal(courtesy.restMs(40), 0);
  });

  test('a lock is held for a 25th of the time where others write all the time', () => {
    assert.equal(after(1000, 1000), 40 * 24);
  });

  test('a write now and then costs little', () => {
    assert.ok(after(2, 1000) < 40);
  });
});

describe('a rare check', () => {
  test('is made again after a second, or ten times as long as it took', async () => {
    let nowMs = 0;
    let looks = 0;
    const check = createRareCheck(
      () => {
        nowMs += 500;
        looks += 1;
        return Promise.resolve(looks);
      },
      () => nowMs,
    );
    assert.equal(await check.look(), 1);
    nowMs += 4999;
    assert.equal(await check.look(), 1);
    nowMs += 1;
    assert.equal(await check.look(), 2);
  });
});
