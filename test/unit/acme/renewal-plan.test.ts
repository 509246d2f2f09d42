import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  askAgainIn,
  chooseRenewal,
  chooseWithin,
  leastLife,
  nextOrderAllowed,
  putRight,
  waitAfter,
} from '../../../src/acme/renewal-plan.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const days = (from: number, to: number) => ({
  validFrom: new Date(from * dayMs).toUTCString(),
  validTo: new Date(to * dayMs).toUTCString(),
});

describe('a renewal', () => {
  it('begins with a third of the life left, at random a little earlier', () => {
    assert.equal(
      chooseRenewal(days(0, 90), () => 0),
      60 * dayMs,
    );
    assert.equal(
      chooseRenewal(days(0, 90), () => 1),
      57 * dayMs,
    );
    assert.equal(
      chooseRenewal(days(10, 16), () => 0),
      14 * dayMs,
    );
  });

  it("is within the CA's window, and never in the last tenth of the life", () => {
    const window = { start: new Date(10 * dayMs).toISOString(), end: new Date(12 * dayMs).toISOString() };
    assert.equal(
      chooseWithin(window, days(0, 90), () => 0.5),
      11 * dayMs,
    );
    assert.equal(
      chooseWithin(window, days(0, 11), () => 1),
      11 * 0.9 * dayMs,
    );
    const farAway = { start: new Date(9e12).toISOString(), end: new Date(9e12).toISOString() };
    assert.equal(
      chooseWithin(farAway, days(0, 90), () => 0),
      81 * dayMs,
    );
    const turned = { start: window.end, end: window.start };
    assert.equal(
      chooseWithin(turned, days(0, 90), () => 1),
      12 * dayMs,
    );
  });

  it('is asked for again as the CA says, within reason', () => {
    assert.deepEqual([null, 0, 5 * hourMs, 400 * dayMs].map(askAgainIn), [
      6 * hourMs,
      60_000,
      5 * hourMs,
      dayMs,
    ]);
  });

  it('leaves a certificate in use for a while, whatever the CA says', () => {
    assert.equal(leastLife(days(0, 90)), dayMs);
    assert.equal(leastLife(days(0, 3)), dayMs / 2);
  });
});

describe('after failures', () => {
  it('at most five orders fail in any hour, however often the program starts', () => {
    const failedAtMs: number[] = [];
    let nowMs = 0;
    for (let i = 0; i < 30; i += 1) {
      nowMs = Math.max(nowMs + 1000, nextOrderAllowed(failedAtMs, nowMs + 1000));
      failedAtMs.push(nowMs);
      const inHour = failedAtMs.filter((at) => at > nowMs - hourMs);
      assert.ok(inHour.length <= 5, `${inHour.length} failed`);
    }
  });

  it('those of a clock that was ahead do not count', () => {
    assert.equal(
      nextOrderAllowed(
        [9, 9, 9, 9, 9].map((day) => day * dayMs),
        dayMs,
      ),
      dayMs,
    );
  });

  it('a wait that began while the clock was ahead begins anew, and once', () => {
    const yearMs = 365 * dayMs;
    const progress = {
      ...{ directory: '', failedAtMs: [], failures: 1, isRetrySetByCa: true, issued: null, renewal: null },
      retryAtMs: yearMs + hourMs,
      lastFailure: { atMs: yearMs, text: 'it was refused' },
    };
    const right = putRight(progress, dayMs);
    assert.deepEqual(right, {
      ...progress,
      retryAtMs: dayMs + hourMs,
      lastFailure: { atMs: dayMs, text: 'it was refused' },
    });
    assert.equal(putRight(right, dayMs + 1000), right);
  });

  it('the waits grow, and end', () => {
    const waits = (kind: 'refused' | 'not-reached') =>
      [1, 2, 3, 4, 5, 100].map((failures) => waitAfter(kind, failures, () => 0) / 1000);
    assert.deepEqual(waits('refused'), [30, 120, 600, 1800, 3600, 21_600]);
    assert.deepEqual(waits('not-reached'), [10, 20, 40, 80, 160, 600]);
  });
});
