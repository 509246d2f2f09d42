import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createBulkhead } from '../../../src/pipeline/routes/bulkhead.ts';
import { OciError } from '../../../src/registry/error.ts';

function open() {
  const said: unknown[] = [];
  let nowMs = 0;
  const note = (level: string) => (fields: unknown, message?: string) => {
    said.push([level, (fields as { upstream: string }).upstream, message?.split(':')[0]]);
  };
  const bulkhead = createBulkhead({
    name: 'hub',
    description: 'The mirror',
    maxRequests: 2,
    maxFailures: 3,
    pauseMs: 1000,
    now: () => nowMs,
    logger: { info: note('info'), warn: note('warn') },
  });
  const pass = (how: 'answered' | 'failed') => {
    const passage = bulkhead.enter();
    passage[how]();
    passage.leave();
  };
  const refusal = () => {
    try {
      bulkhead.enter().leave();
      return null;
    } catch (error) {
      assert.ok(error instanceof OciError);
      return [error.code, error.reason, error.headers['Retry-After']];
    }
  };
  return { bulkhead, said, pass, refusal, wait: (ms: number) => (nowMs += ms) };
}
const stopped = ['warn', 'hub', 'the registry of a route did not answer several times in a row'];
const back = ['info', 'hub', 'the registry of a route answers again'];

describe('createBulkhead', () => {
  it('refuses more requests at once than it allows, without a word', () => {
    const { bulkhead, said, refusal } = open();
    const [first] = [bulkhead.enter(), bulkhead.enter()];
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-full', '1']);
    first.leave();
    assert.equal(refusal(), null);
    assert.deepEqual(said, []);
  });

  it('says once that it stops asking, and once that the registry is back', () => {
    const { said, pass, refusal, wait } = open();
    for (let i = 0; i < 3; i += 1) pass('failed');
    assert.deepEqual(said, [stopped]);
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-paused', '1']);
    wait(1000);
    pass('failed'); // the one that tries
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-paused', '1']);
    assert.deepEqual(said, [stopped]);
    wait(1000);
    pass('answered');
    pass('answered');
    assert.deepEqual(said, [stopped, back]);
  });

  it('lets the next one try when the one that tries leaves without an answer', () => {
    const { bulkhead, pass, refusal, wait } = open();
    for (let i = 0; i < 3; i += 1) pass('failed');
    wait(1000);
    const trying = bulkhead.enter();
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-paused', '1']);
    trying.leave();
    const next = bulkhead.enter();
    trying.leave();
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-paused', '1']);
    next.failed();
    next.leave();
    assert.deepEqual(refusal(), ['UNAVAILABLE', 'upstream-paused', '1']);
  });

  it('lets one that sends a body take no room from others, nor try for them', () => {
    const { bulkhead, pass, refusal, wait } = open();
    const uploads = Array.from({ length: 5 }, () => bulkhead.enter({ sendsBody: true }));
    const first = bulkhead.enter();
    assert.equal(refusal(), null);
    for (const upload of [...uploads, first]) upload.leave();
    for (let i = 0; i < 3; i += 1) pass('failed');
    wait(1000);
    bulkhead.enter({ sendsBody: true });
    assert.equal(refusal(), null);
  });

  it('says nothing of failures between answers', () => {
    const { said, pass, refusal } = open();
    for (const how of ['failed', 'failed', 'answered', 'failed', 'failed', 'answered'] as const) pass(how);
    assert.equal(refusal(), null);
    assert.deepEqual(said, []);
  });
});
