import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLockOuts, forgetLockOutsMs, type LockOut } from '../../../src/auth/throttle/lock-outs.ts';

const rules = { failures: 3, windowMs: 1000, lockMs: 100, maxLockMs: 500 };

function setUp(options: Partial<typeof rules> & { maxEntries?: number } = {}) {
  let nowMs = 5000;
  const lockOuts = createLockOuts({ ...rules, maxEntries: 10, ...options, now: () => nowMs });
  const fail = (key: string, times = 1) =>
    Array.from({ length: times }, () => lockOuts.count(key)).at(-1) ?? null;
  return {
    fail,
    remainingMs: (key: string) => lockOuts.remainingMs(key),
    adopt: (key: string, lockOut: LockOut) => lockOuts.adopt(key, lockOut),
    pass: (ms: number) => (nowMs += ms),
  };
}

describe('lock-outs', () => {
  it('begin with the last of so many failures, and end', () => {
    const { fail, remainingMs, pass } = setUp();
    assert.equal(fail('a', 2), null);
    assert.equal(remainingMs('a'), 0);
    assert.deepEqual(fail('a'), { forMs: 100, times: 1 });
    assert.equal(remainingMs('a'), 100);
    assert.equal(remainingMs('b'), 0);
    pass(99);
    assert.equal(remainingMs('a'), 1);
    pass(1);
    assert.equal(remainingMs('a'), 0);
  });

  it('are twice as long each time, up to the longest', () => {
    const { fail, pass } = setUp();
    for (const [times, forMs] of [100, 200, 400, 500, 500].entries()) {
      assert.deepEqual(fail('a', 3), { forMs, times: times + 1 });
      pass(forMs);
    }
  });

  it('are short again after a day without one', () => {
    const { fail, pass } = setUp();
    fail('a', 3);
    pass(100);
    assert.deepEqual(fail('a', 3), { forMs: 200, times: 2 });
    pass(200 + forgetLockOutsMs - 1);
    assert.deepEqual(fail('a', 3), { forMs: 400, times: 3 });
    pass(400 + forgetLockOutsMs);
    assert.deepEqual(fail('a', 3), { forMs: 100, times: 1 });
  });

  it('are neither prolonged nor repeated by failures during one', () => {
    const { fail, remainingMs, pass } = setUp();
    fail('a', 3);
    pass(50);
    assert.equal(fail('a', 10), null);
    assert.equal(remainingMs('a'), 50);
    pass(50);
    assert.equal(fail('a', 2), null);
    assert.deepEqual(fail('a'), { forMs: 200, times: 2 });
  });

  it('do not come from failures that are far enough apart', () => {
    const { fail, pass } = setUp();
    for (let i = 0; i < 100; i++) {
      assert.equal(fail('a'), null);
      pass(501);
    }
  });

  it('come from a burst across the border of two windows', () => {
    const { fail, pass } = setUp();
    fail('a');
    pass(900);
    fail('a');
    pass(110); // 10 ms into the next window, in which 99 % of the last one still lie
    assert.equal(fail('a'), null);
    assert.deepEqual(fail('a'), { forMs: 100, times: 1 });
  });

  it('never come where no number of failures is given', () => {
    const { fail, remainingMs } = setUp({ failures: 0 });
    assert.equal(fail('a', 1000), null);
    assert.equal(remainingMs('a'), 0);
  });

  it('are bounded in number: who failed least recently is forgotten', () => {
    const { fail, remainingMs } = setUp({ maxEntries: 2 });
    fail('a', 2);
    fail('b', 2);
    for (let i = 0; i < 5; i++) remainingMs('a'); // looking is not failing
    fail('c', 2);
    assert.equal(fail('a'), null);
    assert.ok(fail('c'));
  });

  it('can be taken over from another instance, and only grow by that', () => {
    const { adopt, fail, remainingMs, pass } = setUp();
    adopt('a', { forMs: 300, times: 2 });
    assert.equal(remainingMs('a'), 300);
    adopt('a', { forMs: 100, times: 1 });
    assert.equal(remainingMs('a'), 300);
    pass(300);
    assert.deepEqual(fail('a', 3), { forMs: 400, times: 3 });
  });

  it('let no more through than the rules say, whatever the times', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 1500 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(gaps, (waits) => {
        const { fail, remainingMs, pass } = setUp();
        let nowMs = 0;
        let seen: number[] = [];
        let lockedUntilMs = 0;
        for (const waitMs of waits) {
          pass(waitMs);
          nowMs += waitMs;
          assert.equal(remainingMs('a') > 0, nowMs < lockedUntilMs);
          if (nowMs < lockedUntilMs) continue;
          seen = [...seen, nowMs];
          const lockOut = fail('a');
          // The estimate may be off by what one window holds, never by more; and one that is alone in its window is exact.
          const recent = seen.filter((at) => nowMs - at < 1000).length;
          if (lockOut === null) assert.ok(recent < 2 * rules.failures, `${recent} in one window`);
          else {
            assert.ok(seen.filter((at) => nowMs - at < 2000).length >= rules.failures);
            lockedUntilMs = nowMs + lockOut.forMs;
            seen = [];
          }
        }
      }),
    );
  });
});
