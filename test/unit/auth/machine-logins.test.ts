import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMachineLogins } from '../../../src/auth/machine-tokens/machine-logins.ts';
import { createMachineToken, hashMachineToken } from '../../../src/auth/machine-tokens/machine-token.ts';
import type { TokenEntry } from '../../../src/auth/machine-tokens/token-list.ts';
import { machineToken } from '../../support/principals.ts';
import { createThrottle } from '../../support/throttle.ts';

const hour = 60 * 60 * 1000;
const address = '192.0.2.1';

/** Machine tokens that a test can change, with what is logged and noted of them. */
function setUp({ failures = 0 } = {}) {
  const clock = { nowMs: 1_000_000 };
  const entries = new Map<string, TokenEntry>();
  const users = new Set(['alice']);
  const log: { fields: object; message: string }[] = [];
  const used: string[] = [];
  const throttle = createThrottle({ failures, now: () => clock.nowMs });
  const logins = createMachineLogins({
    tokens: {
      find: (name) => entries.get(name),
      hasHeardOf: (name) => entries.has(name),
      findByHash: (sha256) => [...entries.values()].find((entry) => entry.sha256 === sha256),
    },
    hasUser: (name) => users.has(name),
    throttle,
    uses: { note: (name, from) => void used.push(`${name} ${from}`) },
    logger: { warn: (fields, message) => void log.push({ fields, message }) },
    now: () => clock.nowMs,
  });
  const make = (
    name: string,
    { owner = null, expiresMs = null }: { owner?: string | null; expiresMs?: number | null } = {},
  ) => {
    const token = createMachineToken();
    const principal = machineToken(name, { owner });
    entries.set(name, { principal, sha256: hashMachineToken(token), createdMs: null, expiresMs });
    return token;
  };
  const check = (name: string, token: string, from = address) => logins.check({ name, token, address: from });
  return { clock, entries, users, log, used, throttle, logins, make, check };
}

describe('machine logins', () => {
  test('a right token under its name is its machine token, and is noted', async () => {
    const { make, check, used, log, entries } = setUp();
    const token = make('ci');
    assert.deepEqual(await check('ci', token), { kind: 'verified', principal: entries.get('ci')?.principal });
    assert.deepEqual([used, log], [[`ci ${address}`], []]);
  });

  for (const [what, reason, sentence, attempt] of [
    [
      'malformed',
      'malformed-machine-token',
      /^A machine token for ci is malformed/,
      (token: string) => ['ci', `${token}x`],
    ],
    [
      'cut short',
      'malformed-machine-token',
      /^A machine token for ci is malformed/,
      () => ['ci', 'tidegate_'],
    ],
    [
      'unknown',
      'unknown-machine-token',
      /^A machine token for ci is none that is good/,
      () => ['ci', createMachineToken()],
    ],
    [
      'of another',
      'unknown-machine-token',
      /^The machine token ci was sent under another name/,
      (token: string) => ['robot', token],
    ],
    [
      'of no name',
      'unknown-machine-token',
      /^A machine token is none that is good/,
      () => ['a:b', createMachineToken()],
    ],
    [
      'under the name of no token',
      'unknown-machine-token',
      /^A machine token is none that is good/,
      () => ['hunter2', createMachineToken()],
    ],
    [
      'as the name, too',
      'unknown-machine-token',
      /^A machine token is none/,
      () => {
        const one = createMachineToken();
        return [one, one];
      },
    ],
  ] as const) {
    test(`a token that is ${what} is refused, and the log has neither it nor its hash`, async () => {
      const { make, check, log, used } = setUp();
      const [name = '', token = ''] = attempt(make('ci'));
      assert.deepEqual(await check(name, token), { kind: 'refused', reason });
      assert.equal(log.length, 1);
      assert.match(log[0]?.message ?? '', sentence);
      assert.ok(!/tidegate_|hunter2/.test(JSON.stringify(log)));
      assert.ok(!JSON.stringify(log).includes(hashMachineToken(token)));
      assert.deepEqual(used, []);
    });
  }

  test('an expired token, and one without its owner, are refused with a sentence that names them', async () => {
    const { make, check, clock, users, logins, log } = setUp();
    const expiring = make('ci', { expiresMs: clock.nowMs + 1 });
    const owned = make('robot', { owner: 'alice' });
    for (const [name, token] of [
      ['ci', expiring],
      ['robot', owned],
    ] as const) {
      assert.equal((await check(name, token)).kind, 'verified');
      assert.equal(logins.find(name)?.principal.name, name);
    }
    clock.nowMs += 1;
    users.delete('alice');
    for (const [name, token, reason] of [
      ['ci', expiring, 'expired-machine-token'],
      ['robot', owned, 'ownerless-machine-token'],
    ] as const) {
      const result = await check(name, token);
      assert.ok(result.kind === 'refused' && result.reason === reason);
      assert.match(result.sentence ?? '', new RegExp(`machine token ${name} `));
      assert.equal(logins.find(name), undefined);
    }
    assert.deepEqual(
      log.map(({ message }) => /machine token (\w+) (\w+ \w+)/.exec(message)?.slice(1)),
      [
        ['ci', 'expired at'],
        ['robot', 'has ended'],
      ],
    );
  });

  test('wrong ones lock their address out, and no name', async () => {
    const { make, check, users } = setUp({ failures: 3 });
    const token = make('ci');
    for (let each = 0; each < 3; each += 1)
      assert.equal((await check('ci', createMachineToken())).kind, 'refused');
    assert.equal((await check('ci', createMachineToken())).kind, 'locked-out');
    // The right one is not kept out, from there or elsewhere; nor is anything wrong from elsewhere, under the same name.
    assert.equal((await check('ci', token)).kind, 'verified');
    for (let each = 0; each < 10; each += 1)
      assert.equal((await check('ci', createMachineToken(), `198.51.100.${each}`)).kind, 'refused');
    assert.ok(users.has('alice'));
  });

  test('the same wrong one again and again counts once', async () => {
    const { check, log } = setUp({ failures: 3 });
    const token = createMachineToken();
    for (let each = 0; each < 10; each += 1) assert.equal((await check('ci', token)).kind, 'refused');
    assert.equal(log.length, 1);
  });

  test('an expired one of a known machine counts once an hour, and is never locked out', async () => {
    const { make, check, clock, log, throttle } = setUp({ failures: 2 });
    const token = make('ci', { expiresMs: 0 });
    for (let each = 0; each < 100; each += 1) assert.equal((await check('ci', token)).kind, 'refused');
    assert.equal(log.length, 1);
    // One more that is wrong is the second from there.
    assert.equal((await check('ci', createMachineToken())).kind, 'refused');
    const login = { address, name: null, password: 'x', hash: '', isUser: false };
    assert.ok(throttle.lockedMs(await throttle.begin(login)) > 0);
    clock.nowMs += hour;
    assert.equal((await check('ci', token)).kind, 'refused');
    assert.equal(log.length, 3);
  });

  test('ended ones of many machines count once an hour for their address, and each is logged', async () => {
    const { make, check, clock, log, throttle, users } = setUp({ failures: 2 });
    const tokens = Array.from({ length: 16 }, (_, index) =>
      index % 2 === 0 ? make(`ci${index}`, { expiresMs: 0 }) : make(`ci${index}`, { owner: 'alice' }),
    );
    users.delete('alice');
    const login = { address, name: 'bob', password: 'x', hash: '', isUser: false };
    for (const each of [1, 2]) {
      for (const [index, token] of tokens.entries())
        assert.equal((await check(`ci${index}`, token)).kind, 'refused');
      assert.equal(log.length, each * tokens.length);
      assert.equal(throttle.lockedMs(await throttle.begin(login)), 0);
      clock.nowMs += hour;
    }
  });
});
