import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeNames } from '../../../src/doctor/operator/acme.ts';

const host = 'registry.example.com';

for (const [addresses, state] of [
  [['192.0.2.7'], 'ok'],
  [['10.1.2.3'], 'warning'],
  [['10.1.2.3', '2001:db8::1'], 'ok'],
  [['127.0.0.1', '::1'], 'warning'],
  [['fd00::1'], 'warning'],
  [['100.64.1.1'], 'warning'],
] as const)
  test(`judgeNames: ${addresses.join(', ')} is ${state}`, () => {
    assert.equal(judgeNames([{ host, addresses, failure: null }]).state, state);
  });

test('judgeNames: a name that cannot be looked up is broken', () => {
  const finding = judgeNames([{ host, addresses: [], failure: 'no such name' }]);
  assert.equal(finding.state, 'broken');
  assert.match(finding.what, /registry\.example\.com cannot be looked up: no such name\./);
});
