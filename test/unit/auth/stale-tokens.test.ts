import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findStaleTokens } from '../../../src/auth/machine-tokens/stale-tokens.ts';
import type { TokenUses } from '../../../src/auth/machine-tokens/token-uses.ts';
import { machineToken } from '../../support/principals.ts';

const now = new Date('2027-06-01T12:00:00Z');
const later = Date.parse('2027-12-01');

/** The sentences about one token. */
function stale(
  { created = null, expires = later }: { created?: string | null; expires?: number | null },
  uses: TokenUses | null,
): string {
  const entry = {
    principal: machineToken('ci'),
    ...{ sha256: '', createdMs: created === null ? null : Date.parse(created), expiresMs: expires },
    ...{ line: 1, endLine: 1 },
  };
  return findStaleTokens({ entries: new Map([['ci', entry]]), problems: [] }, uses, now).join(' ');
}
const known = (since: string | null, day?: string): TokenUses => ({
  since,
  used: new Map(day === undefined ? [] : [['ci', { day, address: '192.0.2.1' }]]),
});

for (const [what, token, uses, expected] of [
  [
    'has no end',
    { expires: null },
    known('2027-05-01'),
    /^The machine token ci never expires: .*--expires 90d/,
  ],
  ['has ended', { expires: 0 }, known('2027-01-01'), /^The machine token ci has expired: [^.]*\.$/],
  ['was used of late', {}, known('2027-01-01', '2027-05-30'), /^$/],
  ['was used long ago', {}, known('2027-01-01', '2027-02-01'), /ci has not been used for 90 days/],
  ['was never used', { created: '2027-01-01' }, known('2027-01-01'), /ci has not been used for 90 days/],
  ['is new', { created: '2027-05-01' }, known('2027-01-01'), /^$/],
  ['may have been used before that was kept', { created: '2026-01-01' }, known('2027-05-01'), /^$/],
  ['may have been used where nothing is kept', { created: '2026-01-01' }, known(null), /^$/],
  ['may have been used', { created: '2026-01-01' }, null, /^$/],
] as const) {
  test(`a token that ${what}`, () => assert.match(stale(token, uses), expected));
}

test('of many, some are named and the rest are counted', () => {
  const entries = Array.from({ length: 7 }, (_, i) => ({
    principal: machineToken(`m${i}`),
    ...{ sha256: '', createdMs: null, expiresMs: null, line: i, endLine: i },
  }));
  const list = { entries: new Map(entries.map((entry) => [entry.principal.name, entry])), problems: [] };
  assert.match(
    findStaleTokens(list, null, now).join(' '),
    /^The machine tokens m0, m1, m2, m3, m4, and 2 more, never expire: /,
  );
});
