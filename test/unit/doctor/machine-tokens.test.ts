import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { formatToken } from '../../../src/auth/machine-tokens/token-list.ts';
import { judgeMachineTokens } from '../../../src/doctor/operator/identity/machine-tokens.ts';
import { machineToken } from '../../support/principals.ts';

const now = new Date('2027-06-01T12:00:00Z');
const line = (name: string, expires: string | null) =>
  `${formatToken({
    principal: machineToken(name),
    sha256: name.repeat(64),
    createdMs: Date.parse('2027-01-01'),
    expiresMs: expires === null ? null : Date.parse(expires),
  })}\n`;

describe('the doctor on machine tokens', () => {
  let dir: string;
  let file: string;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'tidegate-doctor-'));
    file = path.join(dir, 'tokens.yml');
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const uses = (since: string, used: object) =>
    writeFileSync(path.join(dir, 'tokens.used.json'), JSON.stringify({ since, used }));

  for (const [what, text, state, sentence] of [
    ['no file', null, 'ok', /no machine tokens/],
    ['an empty file', '', 'ok', /no machine tokens/],
    ['one that is used and expires', line('a', '2027-12-01'), 'ok', /expires, and was used/],
    ['one that never expires', line('a', null), 'warning', /a never expires/],
    ['one that has expired', line('a', '2027-05-01'), 'warning', /a has expired/],
    ['one that nobody uses', line('b', '2027-12-01'), 'warning', /b has not been used for 90 days/],
    ['an entry that never matches', `${line('a', '2027-12-01')}- x\n`, 'warning', /line 2: it is no mapping/],
    ['a file that is no list', 'tokens:\n', 'broken', /cannot be used: line 1/],
  ] as const) {
    test(what, async () => {
      if (text !== null) writeFileSync(file, text, { mode: 0o600 });
      uses('2027-01-01', { a: { day: '2027-05-30', address: '192.0.2.1' } });
      const finding = await judgeMachineTokens(file, now);
      assert.equal(finding.state, state, finding.what);
      assert.match(finding.what, sentence);
    });
  }

  test('a file that others may read or change', async () => {
    writeFileSync(file, line('a', '2027-12-01'), { mode: 0o600 });
    uses('2027-05-01', {});
    for (const [mode, sentence] of [
      [0o644, /can be read by other users/],
      [0o602, /can be changed by other users/],
    ] as const) {
      chmodSync(file, mode);
      assert.match((await judgeMachineTokens(file, now)).what, sentence);
    }
  });

  test('a record of uses that cannot be read says so', async () => {
    writeFileSync(file, line('b', '2027-12-01'), { mode: 0o600 });
    writeFileSync(path.join(dir, 'tokens.used.json'), '{');
    assert.match((await judgeMachineTokens(file, now)).what, /does not say when tokens were used last/);
  });
});
