import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IdTokenFault } from '../../../../src/auth/oidc/id-tokens.ts';
import { createJobLogins } from '../../../../src/auth/oidc/job-logins.ts';
import { createThrottle } from '../../../support/throttle.ts';

test('refused ID tokens are logged once a minute for each issuer and reason', async () => {
  let nowMs = 0;
  let fault: IdTokenFault = { reason: 'wrong-audience', issuer: 'ci', sentence: 'it is not for us' };
  const log: string[] = [];
  const logins = createJobLogins({
    idTokens: { verify: () => Promise.resolve(fault) },
    throttle: createThrottle(),
    logger: { warn: (_: unknown, message: string) => void log.push(message) } as never,
    now: () => nowMs,
  });
  const refuse = async (times: number) => {
    for (let i = 0; i < times; i += 1)
      assert.equal((await logins.check(`${nowMs} ${i}`, '192.0.2.1')).kind, 'refused');
    return log.length;
  };
  assert.equal(await refuse(20), 1);
  fault = { ...fault, reason: 'early-id-token' };
  assert.equal(await refuse(20), 2, 'another reason');
  fault = { ...fault, issuer: 'other' };
  assert.equal(await refuse(20), 3, 'another issuer');
  nowMs += 60_000;
  assert.equal(await refuse(20), 4);
});
