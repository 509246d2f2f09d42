import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createHashKey } from '../../../src/auth/keyed-hash.ts';
import {
  createLoginThrottle,
  type LockOutEvent,
  type LockOutKind,
  type LoginNotice,
  type LoginThrottle,
} from '../../../src/auth/throttle/login-throttle.ts';
import type { WorkerIpc } from '../../../src/system/worker-ipc.ts';

const rules = { windowMs: 60_000, lockMs: 1000, maxLockMs: 8000 };
const office = '192.0.2.1';

/** Throttles of processes that serve together, with one clock. */
function setUp({ processes = 1, address = 3, name = 5, repeat = 6 } = {}) {
  let nowMs = 0;
  const throttled: LockOutKind[] = [];
  const lockOuts: LockOutEvent[] = [];
  const listeners: ((notice: LoginNotice) => void)[] = [];
  const hashKey = createHashKey();
  const throttles = Array.from({ length: processes }, (_, self) => {
    const peers: WorkerIpc<LoginNotice> = {
      publish: (notice) => {
        for (const [i, listener] of listeners.entries()) if (i !== self) listener(notice);
        return Promise.resolve();
      },
      subscribe: (listener) => listeners.push(listener),
    };
    return createLoginThrottle({
      address: { ...rules, failures: address },
      name: { ...rules, failures: name },
      repeat: { ...rules, failures: repeat },
      maxEntries: 1000,
      hashKey,
      provenTtlMs: 100_000,
      maxProven: 1000,
      ipc: peers,
      shared: null,
      events: {
        onThrottled: (kind) => throttled.push(kind),
        onLockOut: (event) => lockOuts.push(event),
      },
      now: () => nowMs,
    });
  });
  const [first] = throttles;
  assert.ok(first);

  const hashes = new Map([['alice', 'hash of alice']]);
  /** What the authenticator does with a password; the right one is the name backwards. */
  const logIn = async (
    who: string,
    password: string,
    from = office,
    throttle: LoginThrottle = first,
  ): Promise<'right' | 'wrong' | 'locked'> => {
    const hash = hashes.get(who) ?? 'decoy';
    const isUser = hashes.has(who);
    const attempt = await throttle.begin({ address: from, name: who, password, hash, isUser });
    if (throttle.lockedMs(attempt) > 0) {
      throttle.refused(attempt);
      return 'locked';
    }
    if (isUser && password === Array.from(who).reverse().join('')) {
      throttle.succeeded(attempt);
      return 'right';
    }
    await throttle.failed(attempt);
    return 'wrong';
  };
  let guesses = 0;
  /** Each time with another password. */
  const fail = async (who: string, times: number, from = office, throttle = first) => {
    for (let i = 0; i < times; i++)
      assert.equal(await logIn(who, `guess ${(guesses += 1)}`, from, throttle), 'wrong');
  };
  return { throttles, logIn, fail, hashes, throttled, lockOuts, pass: (ms: number) => (nowMs += ms) };
}

describe('the throttle of logins', () => {
  it('locks an address out, right passwords included, and no other address', async () => {
    const { fail, logIn, throttled, lockOuts, pass } = setUp();
    for (const name of ['alice', 'bob', 'carol']) await fail(name, 1);
    assert.deepEqual(lockOuts, [{ kind: 'address', network: office, user: null, forMs: 1000, times: 1 }]);
    assert.equal(await logIn('alice', 'ecila'), 'locked');
    assert.equal(await logIn('nobody', 'x'), 'locked');
    assert.deepEqual(throttled, ['address', 'address']);
    assert.equal(await logIn('alice', 'ecila', '192.0.2.2'), 'right');
    pass(1000);
    assert.equal(await logIn('alice', 'ecila'), 'right');
  });

  it('takes an IPv6 network for one address, and IPv4 in IPv6 for IPv4', async () => {
    const { fail, logIn } = setUp();
    for (const from of ['2001:db8::1', '2001:db8::2:0', '2001:db8:0:0:ffff::']) await fail('alice', 1, from);
    assert.equal(await logIn('alice', 'ecila', '2001:db8::3'), 'locked');
    assert.equal(await logIn('alice', 'ecila', '2001:db8:0:1::3'), 'right');
    for (const from of ['::ffff:192.0.2.9', '192.0.2.9', '::ffff:c000:209']) await fail('bob', 1, from);
    assert.equal(await logIn('bob', 'x', '192.0.2.9'), 'locked');
  });

  it('locks a name out that is tried from many addresses, whether there is such a user or not', async () => {
    for (const name of ['alice', 'nobody']) {
      const { fail, logIn, lockOuts } = setUp();
      for (let i = 0; i < 5; i++) await fail(name, 1, `198.51.100.${i}`);
      const user = name === 'alice' ? name : null;
      assert.deepEqual(lockOuts, [{ kind: 'name', network: '198.51.100.4', user, forMs: 1000, times: 1 }]);
      assert.equal(await logIn(name, 'ecila', '203.0.113.1'), 'locked');
      assert.equal(await logIn('carol', 'x', '203.0.113.1'), 'wrong');
    }
  });

  it('does not lock a name out from where it succeeded before', async () => {
    const { fail, logIn, pass } = setUp();
    assert.equal(await logIn('alice', 'ecila', office), 'right');
    for (let i = 0; i < 5; i++) await fail('alice', 1, `198.51.100.${i}`);
    assert.equal(await logIn('alice', 'another', office), 'wrong');
    assert.equal(await logIn('alice', 'x', '203.0.113.1'), 'locked');
    pass(100_000);
    for (let i = 0; i < 5; i++) await fail('alice', 1, `198.51.100.${i}`);
    assert.equal(await logIn('alice', 'another', office), 'locked');
  });

  it('never locks out what was right before, until its user has another hash', async () => {
    const { fail, logIn, hashes } = setUp();
    assert.equal(await logIn('alice', 'ecila'), 'right');
    await fail('bob', 3);
    for (let i = 0; i < 5; i++) await fail('alice', 1, `198.51.100.${i}`);
    assert.equal(await logIn('alice', 'x'), 'locked');
    assert.equal(await logIn('alice', 'ecila'), 'right');
    assert.equal(await logIn('alice', 'ecila', '198.51.100.200'), 'right');
    hashes.set('alice', 'another hash');
    assert.equal(await logIn('alice', 'ecila'), 'locked');
  });

  it('takes a user who was removed for nobody', async () => {
    const { fail, logIn, hashes } = setUp();
    assert.equal(await logIn('alice', 'ecila'), 'right');
    await fail('bob', 3);
    hashes.delete('alice');
    assert.equal(await logIn('alice', 'ecila'), 'locked');
  });

  it('makes lock-outs longer, and says so once for each', async () => {
    const { fail, logIn, lockOuts, pass } = setUp({ name: 0 });
    for (const forMs of [1000, 2000, 4000, 8000, 8000]) {
      await fail('bob', 3);
      assert.equal(await logIn('bob', 'x'), 'locked');
      assert.equal(lockOuts.at(-1)?.forMs, forMs);
      pass(forMs);
    }
    assert.equal(lockOuts.length, 5);
  });

  it('counts over all processes, and what is right in one is known in all', async () => {
    const { throttles, fail, logIn, lockOuts } = setUp({ processes: 3 });
    assert.equal(await logIn('alice', 'ecila', office, throttles[2]), 'right');
    for (const throttle of throttles) await fail('bob', 1, office, throttle);
    for (const throttle of throttles) {
      assert.equal(await logIn('alice', 'x', office, throttle), 'locked');
      assert.equal(await logIn('alice', 'ecila', office, throttle), 'right');
    }
    assert.equal(lockOuts.length, 1, 'the process in which the last failure was says it');
  });

  it('takes the very same again for no further guess, and locks that out by itself', async () => {
    for (const name of ['alice', 'nobody']) {
      const { throttles, logIn, fail, lockOuts, throttled, pass } = setUp({ processes: 2 });
      for (let i = 0; i < 6; i++) assert.equal(await logIn(name, 'old', office, throttles[i % 2]), 'wrong');
      const user = name === 'alice' ? name : null;
      assert.deepEqual(lockOuts, [{ kind: 'repeat', network: office, user, forMs: 1000, times: 1 }]);
      for (const throttle of throttles) assert.equal(await logIn(name, 'old', office, throttle), 'locked');
      assert.deepEqual(throttled, ['repeat', 'repeat']);
      // It was one guess from this address, and one under this name.
      assert.equal(await logIn('alice', 'ecila'), 'right');
      await fail(name, 1);
      assert.equal(await logIn(name, 'old', '192.0.2.2'), 'wrong');
      await fail(name, 1);
      assert.equal(await logIn('carol', 'x'), 'locked');
      pass(1000);
      assert.equal(await logIn(name, 'old'), 'wrong');
    }
  });

  it('takes it for another guess where its user has another hash, or a window has passed', async () => {
    const { logIn, hashes, pass } = setUp();
    assert.equal(await logIn('alice', 'old'), 'wrong');
    hashes.set('alice', 'another hash');
    assert.equal(await logIn('alice', 'old'), 'wrong');
    assert.equal(await logIn('carol', 'old'), 'wrong');
    assert.equal(await logIn('carol', 'new'), 'locked');
    pass(121_000);
    for (let i = 0; i < 2; i++) assert.equal(await logIn('alice', 'old'), 'wrong');
    assert.equal(await logIn('carol', 'new'), 'wrong');
    assert.equal(await logIn('carol', 'newer'), 'wrong');
    assert.equal(await logIn('carol', 'newest'), 'locked');
  });

  it('counts the very same every time where that is chosen', async () => {
    const { logIn } = setUp({ repeat: 0 });
    for (let i = 0; i < 3; i++) assert.equal(await logIn('alice', 'old'), 'wrong');
    assert.equal(await logIn('alice', 'ecila'), 'locked');
  });

  it('counts what is under no name for its address alone', async () => {
    const { throttles, lockOuts } = setUp({ name: 2, address: 4 });
    const [throttle] = throttles;
    assert.ok(throttle);
    for (let each = 0; each < 10; each += 1) {
      const login = { address: `192.0.2.${each}`, name: null, password: 'token', hash: '', isUser: false };
      assert.equal(await throttle.failed(await throttle.begin(login)), true);
    }
    assert.deepEqual(lockOuts, []);
    for (let each = 0; each < 4; each += 1) {
      const login = { address: office, name: null, password: `token ${each}`, hash: '', isUser: false };
      await throttle.failed(await throttle.begin(login));
    }
    assert.deepEqual(
      lockOuts.map(({ kind, user }) => [kind, user]),
      [['address', null]],
    );
  });

  it('counts the very same once in a time where that is chosen, over all processes', async () => {
    const { throttles, lockOuts, pass } = setUp({ processes: 2, address: 3 });
    const login = { address: office, name: null, password: 'expired', hash: '', isUser: false };
    const counts = async () => {
      const counted: boolean[] = [];
      for (const throttle of [...throttles, ...throttles])
        counted.push(await throttle.failed(await throttle.begin(login), 10_000));
      return counted;
    };
    assert.deepEqual(await counts(), [true, false, false, false]);
    pass(10_000);
    assert.deepEqual(await counts(), [true, false, false, false]);
    assert.deepEqual(lockOuts, []);
    pass(10_000);
    await counts();
    assert.equal(lockOuts.length, 1);
  });

  it('is off where no number is given', async () => {
    const { fail, logIn, lockOuts } = setUp({ address: 0, name: 0, repeat: 0 });
    await fail('alice', 100);
    for (let i = 0; i < 100; i++) assert.equal(await logIn('alice', 'old'), 'wrong');
    assert.deepEqual(lockOuts, []);
  });
});
