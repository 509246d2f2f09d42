import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IdTokenFault } from '../../../../src/auth/oidc/id-tokens.ts';
import { createJobLogins } from '../../../../src/auth/oidc/job-logins.ts';
import { createThrottle } from '../../../support/throttle.ts';

/** Logins whose ID tokens all have this fault, and what they log. */
function setUp(fault: { now: IdTokenFault }) {
  const clock = { nowMs: 0 };
  const log: string[] = [];
  const logins = createJobLogins({
    idTokens: { verify: () => Promise.resolve(fault.now) },
    throttle: createThrottle(),
    logger: { warn: (_: unknown, message: string) => void log.push(message) } as never,
    now: () => clock.nowMs,
  });
  return { clock, log, logins };
}

const wrongAudience: IdTokenFault = { reason: 'wrong-audience', issuer: 'ci', sentence: 'it is not for us' };

test('refused ID tokens are logged once a minute for each issuer and reason', async () => {
  const fault = { now: wrongAudience };
  const { clock, log, logins } = setUp(fault);
  const refuse = async (times: number) => {
    for (let i = 0; i < times; i += 1)
      assert.equal((await logins.check(`${clock.nowMs} ${i}`, '192.0.2.1')).kind, 'refused');
    return log.length;
  };
  assert.equal(await refuse(20), 1);
  fault.now = { ...wrongAudience, reason: 'early-id-token' };
  assert.equal(await refuse(20), 2, 'another reason');
  fault.now = { ...fault.now, issuer: 'other' };
  assert.equal(await refuse(20), 3, 'another issuer');
  clock.nowMs += 60_000;
  assert.equal(await refuse(20), 4);
});

test('jobs without a rule are logged by name, once a minute for each', () => {
  const { clock, log, logins } = setUp({ now: wrongAudience });
  const refuse = (name: string) =>
    logins.refusedWithoutRule({ kind: 'job', issuer: 'ci', name, claims: {} }, '192.0.2.1');
  for (let i = 0; i < 20; i += 1) refuse('acme/app@main');
  refuse('acme/app@fix');
  assert.deepEqual(log, [
    'A token of job:ci acme/app@main was refused: no rule of the policy is for it.',
    'A token of job:ci acme/app@fix was refused: no rule of the policy is for it.',
  ]);
  clock.nowMs += 60_000;
  refuse('acme/app@main');
  assert.equal(log.length, 3);
  // Anybody's project has jobs of any name: they neither fill the log nor memory.
  for (let i = 0; i < 1000; i += 1) refuse(`stranger/app@${i}`);
  assert.equal(log.length, 22);
  clock.nowMs += 60_000;
  refuse('acme/app@main');
  assert.equal(log.length, 23);
});
