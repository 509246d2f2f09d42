import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { createAuthenticator } from '../../../src/auth/authenticator.ts';
import type { HtpasswdFile } from '../../../src/auth/htpasswd/htpasswd-file.ts';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';
import { verifyPassword } from '../../../src/auth/password/password-hash.ts';
import { createPasswordPool, type PasswordPool } from '../../../src/auth/password/password-pool.ts';
import { OciError } from '../../../src/registry/error.ts';
import { noMachines } from '../../support/machines.ts';
import { createThrottle } from '../../support/throttle.ts';
import { user } from '../../support/principals.ts';

const sha = (password: string) => `{SHA}${createHash('sha1').update(password).digest('base64')}`;
const basic = (name: string, password: string) => [
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
];
const bcrypt = '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'; // U*U
const apr1 = '$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/'; // myPassword
const wrong = { kind: 'refused', reason: 'wrong-credentials' };
const unknownToken = { kind: 'refused', reason: 'unknown-token' };
const verified = (name: string, scheme = 'basic') => ({ kind: 'verified', principal: user(name), scheme });

/** An htpasswd file in memory that a test can change, and a pool that records the hashes it computes and can be held. */
function setUp(
  text: string,
  options: { maxCredentials?: number; failures?: number; pool?: PasswordPool } = {},
) {
  let generation = 1;
  let current = parseHtpasswd(text, { maxBcryptCost: 12, maxShaCryptRounds: 10_000 });
  const htpasswd: Omit<HtpasswdFile, 'reread'> = {
    lookup: (name) => current.entries.get(name),
    usable: () => [...current.entries.values()],
    generation: () => generation,
    close: () => undefined,
  };
  const computed: string[] = [];
  let gate: Promise<void> | undefined;
  let failure: Error | undefined;
  const pool: PasswordPool = {
    async verify(password, hash) {
      computed.push(hash);
      await gate;
      if (failure) throw failure;
      return verifyPassword(password, hash);
    },
    hash: () => Promise.reject(new Error('nobody asks for one')),
    load: () => ({ queued: 0, running: 0 }),
    close: () => Promise.resolve(),
  };
  let nowMs = 0;
  const built = createAuthenticator({
    htpasswd,
    machines: noMachines,
    pool: options.pool ?? pool,
    throttle: createThrottle({ failures: options.failures ?? 0, now: () => nowMs }),
    credentialTtlMs: 1000,
    maxCredentials: options.maxCredentials ?? 100,
    now: () => nowMs,
  });
  const authenticator = {
    ...built,
    authenticate: (values: readonly string[], from = '192.0.2.1') => built.authenticate(values, from),
  };
  return {
    authenticator,
    computed,
    change: (next: string) => {
      current = parseHtpasswd(next, { maxBcryptCost: 12, maxShaCryptRounds: 10_000 });
      generation += 1;
    },
    pass: (ms: number) => (nowMs += ms),
    fail: (error: Error | undefined) => (failure = error),
    hold: (): (() => void) => {
      const { promise, resolve } = promiseWithResolve();
      gate = promise;
      return resolve;
    },
  };
}

function promiseWithResolve(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

describe('authenticate', () => {
  it('tells nobody, somebody and somebody wrong apart', async () => {
    const { authenticator } = setUp(`alice:${sha('secret')}\nzoë:${sha('a:b £')}\nempty:${sha('')}\n`);
    assert.deepEqual(await authenticator.authenticate([]), { kind: 'anonymous' });
    assert.deepEqual(await authenticator.authenticate(['Basic Og==']), { kind: 'anonymous' });
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    assert.deepEqual(await authenticator.authenticate(basic('zoë', 'a:b £')), verified('zoë'));
    assert.deepEqual(await authenticator.authenticate(basic('empty', '')), verified('empty'));
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'Secret')), wrong);
    assert.deepEqual(await authenticator.authenticate(basic('alice', '')), wrong);
    assert.deepEqual(await authenticator.authenticate(basic('Alice', 'secret')), wrong);
    assert.deepEqual(await authenticator.authenticate(basic('', 'secret')), wrong);
  });

  it('refuses everything else', async () => {
    const { authenticator, computed } = setUp(`alice:${sha('secret')}\n`);
    const [right = ''] = basic('alice', 'secret');
    const table: readonly (readonly [string[], string])[] = [
      [[right, right], 'several-authorization-headers'],
      [[right, 'Basic x'], 'several-authorization-headers'],
      [[right, 'Basic Og=='], 'several-authorization-headers'],
      [['Basic Og==', 'Basic Og=='], 'several-authorization-headers'],
      [['Basic !'], 'malformed'],
      [[''], 'unsupported-scheme'],
      [['Bearer abc'], 'unsupported-scheme'],
      [['Digest username="alice"'], 'unsupported-scheme'],
      [['Token'], 'unsupported-scheme'],
      [['Token abc'], 'unknown-token'],
    ];
    for (const [values, reason] of table) {
      assert.deepEqual(await authenticator.authenticate(values), { kind: 'refused', reason });
    }
    assert.deepEqual(computed, []);
  });

  it('"could not decide" is thrown, neither accepted nor refused, and not remembered', async () => {
    const { authenticator, fail } = setUp(`alice:${sha('secret')}\n`);
    fail(new OciError('UNAVAILABLE', 'busy'));
    await assert.rejects(authenticator.authenticate(basic('alice', 'secret')), { code: 'UNAVAILABLE' });
    fail(undefined);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    await authenticator.close();
    await assert.rejects(authenticator.authenticate(basic('alice', 'secret')), { code: 'UNAVAILABLE' });
  });

  it('remembers a success for the TTL and never a failure', async () => {
    const { authenticator, computed, pass } = setUp(`alice:${sha('secret')}\n`);
    for (let i = 0; i < 3; i++) await authenticator.authenticate(basic('alice', 'secret'));
    assert.equal(computed.length, 1);
    for (let i = 0; i < 3; i++) await authenticator.authenticate(basic('alice', 'wrong'));
    assert.equal(computed.length, 4);
    pass(1000);
    await authenticator.authenticate(basic('alice', 'secret'));
    assert.equal(computed.length, 5);
  });

  it('does equal checks in flight once, different ones each', async () => {
    const { authenticator, computed, hold } = setUp(`alice:${sha('secret')}\n`);
    const release = hold();
    const checks = [
      ...Array.from({ length: 5 }, () => authenticator.authenticate(basic('alice', 'secret'))),
      ...Array.from({ length: 5 }, () => authenticator.authenticate(basic('alice', 'wrong'))),
      ...Array.from({ length: 5 }, () => authenticator.authenticate(basic('nobody', 'secret'))),
    ];
    release();
    const results = await Promise.all(checks);
    assert.equal(computed.length, 3);
    assert.deepEqual(results.slice(0, 5), Array(5).fill(verified('alice')));
    assert.deepEqual(results.slice(5), Array(10).fill(wrong));
  });

  it('a user who was removed or changed is out at once, the others stay', async () => {
    const { authenticator, change } = setUp(`alice:${sha('secret')}\nbob:${sha('secret')}\n`);
    for (const name of ['alice', 'bob']) await authenticator.authenticate(basic(name, 'secret'));
    change(`alice:${sha('other')}\n`);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), wrong);
    assert.deepEqual(await authenticator.authenticate(basic('bob', 'secret')), wrong);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'other')), verified('alice'));
  });

  it('forgets what it remembered when the file changes', async () => {
    const { authenticator, change, computed } = setUp(`alice:${sha('secret')}\n`);
    await authenticator.authenticate(basic('alice', 'secret'));
    change(`alice:${sha('secret')}\nbob:${sha('x')}\n`);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    assert.equal(computed.length, 2);
  });

  for (const [title, next] of [
    ['removed', `bob:${sha('x')}\n`],
    ['changed', `alice:${sha('other')}\n`],
    ['made unusable', `alice:plain\nalice:${sha('secret')}\n`],
  ] as const) {
    it(`a check that began before its user was ${title} is not accepted and not remembered`, async () => {
      const { authenticator, change, hold } = setUp(`alice:${sha('secret')}\n`);
      const release = hold();
      const check = authenticator.authenticate(basic('alice', 'secret'));
      change(next);
      release();
      assert.deepEqual(await check, wrong);
      assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), wrong);
    });
  }

  it('a check of a name that was unknown when it began stays refused', async () => {
    const { authenticator, change, hold } = setUp(`bob:${sha('secret')}\n`);
    const release = hold();
    const check = authenticator.authenticate(basic('alice', 'secret'));
    change(`alice:${sha('secret')}\n`);
    release();
    assert.deepEqual(await check, wrong);
  });
});

describe('a lock-out', () => {
  const text = `alice:${sha('secret')}\n`;
  const lockedOut = { kind: 'locked-out', forMs: 1000 };

  it('keeps every password from being looked at, but one that was right before', async () => {
    const { authenticator, computed, pass } = setUp(text, { failures: 3 });
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    for (let i = 0; i < 3; i++)
      assert.deepEqual(await authenticator.authenticate(basic('bob', `wrong ${i}`)), wrong);
    const before = computed.length;
    for (const name of ['alice', 'bob', 'carol'])
      assert.deepEqual(await authenticator.authenticate(basic(name, 'wrong')), lockedOut);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    assert.equal(computed.length, before);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'wrong'), '192.0.2.2'), wrong);
    pass(1000);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'wrong')), wrong);
  });

  it('does not outlast the time for which a success is remembered, for whoever succeeded', async () => {
    const { authenticator, computed, pass } = setUp(text, { failures: 3 });
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    pass(1000);
    for (let i = 0; i < 3; i++) await authenticator.authenticate(basic('bob', `wrong ${i}`));
    const before = computed.length;
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
    assert.equal(computed.length, before + 1, 'it is checked again');
  });

  it('holds for those who wait for a thread already', async () => {
    const pool = createPasswordPool({ threads: 1, maxQueued: 100 });
    const { authenticator } = setUp(text, { failures: 3, pool });
    const guesses = Array.from({ length: 20 }, (_, i) =>
      authenticator.authenticate(basic('alice', `guess ${i}`)),
    );
    const alive = setInterval(() => {}, 1000); // the threads do not keep the process alive
    const kinds = (await Promise.all(guesses)).map(({ kind }) => kind);
    clearInterval(alive);
    await authenticator.close();
    // The one thread has its next password before the last one has been counted.
    assert.deepEqual(kinds, [...Array<string>(4).fill('refused'), ...Array<string>(16).fill('locked-out')]);
  });

  it('does not follow from what is no password, or from a token', async () => {
    const { authenticator } = setUp(text, { failures: 3 });
    for (const value of ['Basic !', 'Basic Og==', 'Bearer abc', 'Token abc', ''])
      for (let i = 0; i < 10; i++) await authenticator.authenticate([value]);
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'secret')), verified('alice'));
  });
});

describe('the cost of an unknown name', () => {
  it('is that of a known one in every mix of kinds: the same hashes, as often', async () => {
    const users = Array.from({ length: 40 }, (_, i) => `user${i}:${i % 4 === 0 ? bcrypt : apr1}\n`).join('');
    const { authenticator, computed } = setUp(users);
    for (let i = 0; i < 200; i++) {
      assert.deepEqual(await authenticator.authenticate(basic(`stranger${i}`, 'myPassword')), wrong);
    }
    assert.equal(computed.length, 200, 'one hash each, even where the password fits the entry compared with');
    const slow = computed.filter((hash) => hash === bcrypt).length;
    // A quarter of 200 is expected; outside 20…80 is less likely than one in a million.
    assert.ok(slow >= 20 && slow <= 80, `${slow} of 200 were bcrypt`);
  });

  it('is the same each time for one name', async () => {
    const users = Array.from({ length: 40 }, (_, i) => `user${i}:${sha(String(i))}\n`).join('');
    const { authenticator, computed } = setUp(users);
    for (let i = 0; i < 10; i++) await authenticator.authenticate(basic('stranger', `password${i}`));
    assert.equal(new Set(computed).size, 1);
  });

  it('also for a name whose line cannot be used, and with the same password again', async () => {
    const { authenticator, computed } = setUp(`alice:${apr1}\nbob:myPassword\n`);
    for (let i = 0; i < 2; i++) {
      assert.deepEqual(await authenticator.authenticate(basic('bob', 'myPassword')), wrong);
    }
    assert.deepEqual(computed, [apr1, apr1]);
  });

  it('is bcrypt of cost 10 where there is no user', async () => {
    const { authenticator, computed } = setUp('');
    assert.deepEqual(await authenticator.authenticate(basic('alice', 'x')), wrong);
    assert.match(computed[0] ?? '', /^\$2y\$10\$.{53}$/);
  });
});

describe('tokens of the first registry protocol', () => {
  const token = 'signature=abc123,repository="library/foo",access=read';

  async function logIn(text = `alice:${sha('secret')}\n`, options = {}) {
    const set = setUp(text, options);
    const result = await set.authenticator.authenticate(basic('alice', 'secret'));
    assert.ok(result.kind === 'verified' && result.principal.kind === 'user');
    return { ...set, principal: result.principal };
  }

  it('are accepted as upstream issued them, and no others', async () => {
    const { authenticator, principal } = await logIn();
    await authenticator.rememberToken(token, principal);
    await authenticator.rememberToken('opaque', principal);
    const check = (value: string) => authenticator.authenticate([value]);
    assert.deepEqual(await check(`Token ${token}`), verified('alice', 'token'));
    assert.deepEqual(await check(`token ${token}`), verified('alice', 'token'));
    assert.deepEqual(await check('Token opaque'), verified('alice', 'token'));
    for (const other of [
      token.toUpperCase(),
      token.slice(0, -1),
      `${token}x`,
      token.replace('read', 'write'),
    ]) {
      assert.deepEqual(await check(`Token ${other}`), unknownToken);
    }
    assert.deepEqual(await check(`Bearer ${token}`), { kind: 'refused', reason: 'unsupported-scheme' });
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`, 'Token opaque']), {
      kind: 'refused',
      reason: 'several-authorization-headers',
    });
  });

  it('end with their TTL', async () => {
    const { authenticator, principal, pass } = await logIn();
    await authenticator.rememberToken(token, principal);
    pass(1000);
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`]), unknownToken);
  });

  it('end when the user changes or goes, not when another does', async () => {
    const { authenticator, principal, change } = await logIn();
    await authenticator.rememberToken(token, principal);
    change(`alice:${sha('secret')}\nbob:${sha('x')}\n`);
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`]), verified('alice', 'token'));
    change(`alice:${sha('other')}\n`);
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`]), unknownToken);
  });

  it('issued to a request that began before the change are not taken', async () => {
    const { authenticator, principal, change } = await logIn();
    change(`alice:${sha('other')}\n`);
    await authenticator.rememberToken(token, principal);
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`]), unknownToken);
  });

  it('need a principal that was verified here', async () => {
    const { authenticator } = await logIn();
    await authenticator.rememberToken(token, user('alice'));
    assert.deepEqual(await authenticator.authenticate([`Token ${token}`]), unknownToken);
  });

  it('are bounded in number', async () => {
    const { authenticator, principal } = await logIn(undefined, { maxCredentials: 2 });
    for (const value of ['t1', 't2', 't3']) await authenticator.rememberToken(value, principal);
    assert.deepEqual(await authenticator.authenticate(['Token t1']), unknownToken);
    assert.deepEqual(await authenticator.authenticate(['Token t3']), verified('alice', 'token'));
  });
});
