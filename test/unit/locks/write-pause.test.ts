import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createWritePause, pauseLifeMs } from '../../../src/locks/write-pause.ts';

const limits = { maxHeld: 2, signal: new AbortController().signal };
const longMs = 10 * pauseLifeMs;

function open() {
  let ends = 0;
  const pause = createWritePause();
  pause.onResume(() => (ends += 1));
  return { ...pause, ends: () => ends };
}

test('a pause tells when no write is under way, and holds the next until it ends', async () => {
  const { enter, wait, pause, resume, ends } = open();
  const leave = enter(true) ?? assert.fail('paused');
  assert.notEqual(enter(false), null, 'a part of an upload is not waited for');
  assert.equal(pause(longMs), false);
  assert.equal(enter(true), null);
  const held = wait(true, limits);
  leave();
  leave();
  assert.equal(pause(longMs), true);
  assert.equal(ends(), 0);
  resume();
  resume();
  assert.equal(ends(), 1);
  assert.equal(typeof (await held), 'function');
  assert.equal(pause(longMs), false, 'the held write is under way now');
  resume();
});

test('a write without an answer counts for a while', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { enter, pause, resume } = open();
    enter(true)?.(3000);
    mock.timers.tick(2999);
    assert.equal(pause(longMs), false);
    mock.timers.tick(1);
    assert.equal(pause(longMs), true);
    resume();
  } finally {
    mock.timers.reset();
  }
});

test('a held write is refused after the time, over the number, and when its client leaves', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { enter, wait, pause, resume } = open();
    pause(1000);
    const leaving = new AbortController();
    const first = wait(true, limits);
    const second = wait(true, { ...limits, signal: leaving.signal });
    assert.equal(await wait(true, limits), 'crowded');
    leaving.abort();
    assert.equal(await second, 'gone');
    const third = wait(false, limits);
    mock.timers.tick(1000);
    assert.deepEqual([await first, await third], ['late', 'late']);
    pause(0);
    assert.equal(await wait(true, limits), 'late');
    resume();
    assert.notEqual(enter(true), null);
  } finally {
    mock.timers.reset();
  }
});

test('a pause ends by itself when nobody repeats it', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { enter, pause, ends } = open();
    pause(longMs);
    mock.timers.tick(pauseLifeMs - 1);
    pause(longMs);
    mock.timers.tick(pauseLifeMs - 1);
    assert.equal(enter(true), null);
    mock.timers.tick(1);
    assert.notEqual(enter(true), null);
    assert.equal(ends(), 1);
  } finally {
    mock.timers.reset();
  }
});

test('writes wait at the start until it is known whether there is a pause', () => {
  const absent = open();
  absent.holdAtStart();
  assert.equal(absent.enter(true), null);
  absent.endStart();
  assert.notEqual(absent.enter(true), null);
  const present = open();
  present.holdAtStart();
  present.pause(longMs);
  present.endStart();
  assert.equal(present.enter(true), null);
  present.resume();
});
