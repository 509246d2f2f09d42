import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createTagInquiries } from '../../../src/pipeline/tag-rules/tag-inquiries.ts';

const never = new AbortController().signal;
/** Whether it has begun. */
const isIn = (entered: Promise<unknown>) =>
  Promise.race([entered.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]);

describe('inquiries', () => {
  test('one of each user, and no more than there may be of all', async () => {
    const inquiries = createTagInquiries({ max: 2, waitMs: 60_000, maxWaiting: 10 });
    const [one, again, two, three] = ['alice', 'alice', 'bob', 'carol'].map((user) =>
      inquiries.enter(user, never),
    );
    assert.ok(one && again && two && three);
    assert.deepEqual(await Promise.all([one, again, two, three].map(isIn)), [true, false, true, false]);
    const leave = await two;
    assert.ok(typeof leave === 'function');
    leave();
    leave();
    assert.deepEqual(await Promise.all([again, three].map(isIn)), [false, true]);
    const first = await one;
    assert.ok(typeof first === 'function');
    first();
    assert.equal(await isIn(again), true);
  });

  test('too many who wait, who waits too long, and who leaves', async () => {
    const inquiries = createTagInquiries({ max: 1, waitMs: 1, maxWaiting: 1 });
    const leave = await inquiries.enter('alice', never);
    const leaving = new AbortController();
    const waiter = inquiries.enter('alice', leaving.signal);
    assert.equal(await inquiries.enter('alice', never), 'crowded');
    leaving.abort();
    assert.equal(await waiter, 'gone');
    assert.equal(await inquiries.enter('alice', leaving.signal), 'gone');
    assert.equal(await inquiries.enter('bob', never), 'late');
    assert.ok(typeof leave === 'function');
    leave();
    assert.equal(typeof (await inquiries.enter('bob', never)), 'function');
  });
});
