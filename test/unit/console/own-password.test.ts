import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Authenticator } from '../../../src/auth/authenticator.ts';
import { hashPassword, verifyPassword } from '../../../src/auth/password/password-hash.ts';
import { createPasswordPool, type PasswordPool } from '../../../src/auth/password/password-pool.ts';
import { createOwnPassword, type PasswordForm } from '../../../src/console/changes/own-password.ts';
import { user } from '../../support/principals.ts';

const old = 'the old password';
const next = 'a new password 新';
const form: PasswordForm = { current: old, next, repeated: next, address: '192.0.2.1' };

describe('one’s own password', () => {
  let dir: string;
  let file: string;
  let pool: PasswordPool;
  let alive: NodeJS.Timeout;
  before(async () => {
    alive = setInterval(() => undefined, 60_000); // the pool's threads keep no process alive
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-own-password-'));
    file = path.join(dir, 'htpasswd');
    pool = createPasswordPool({ threads: 1, maxQueued: 10 });
  });
  after(async () => {
    clearInterval(alive);
    await pool.close();
    await rm(dir, { recursive: true });
  });

  const presentHash = (name: string) =>
    new RegExp(`^${name}:(.*)$`, 'm').exec(readFileSync(file, 'utf8'))?.[1];
  /** Verifies against the file as it is now. */
  const open = (lockedForMs = 0) => {
    const hashes = new WeakMap<object, string>();
    const authenticator: Pick<Authenticator, 'authenticate' | 'hashOf'> = {
      authenticate: async ([credentials = '']) => {
        if (lockedForMs > 0) return { kind: 'locked-out', forMs: lockedForMs };
        const [name = '', password = ''] = Buffer.from(credentials.slice(6), 'base64').toString().split(':');
        const lines = (await readFile(file, 'utf8')).split('\n');
        const hash = lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1) ?? '';
        if (!verifyPassword(password, hash)) return { kind: 'refused', reason: 'wrong-credentials' };
        const principal = user(name);
        hashes.set(principal, hash);
        return { kind: 'verified', principal, scheme: 'basic' };
      },
      hashOf: (principal) => hashes.get(principal),
    };
    return createOwnPassword({ file, authenticator, pool, presentHash });
  };

  const write = (hash = hashPassword(old, 4)) => writeFile(file, `# users\nalice:${hash}\nbob:{SHA}x\n`);

  test('is changed in its line alone, with at least cost 10', async () => {
    await write();
    assert.ok(await open().canChange());
    assert.equal(await open().change(user('alice'), form), null);
    const [comment, alice = '', bob] = (await readFile(file, 'utf8')).split('\n');
    assert.deepEqual([comment, bob], ['# users', 'bob:{SHA}x']);
    assert.match(alice, /^alice:\$2y\$10\$/);
    assert.ok(verifyPassword(next, alice.slice('alice:'.length)));
  });

  test('keeps the cost of the hash before where that is higher', async () => {
    await write(hashPassword(old, 11));
    assert.equal(await open().change(user('alice'), form), null);
    assert.match(await readFile(file, 'utf8'), /^alice:\$2y\$11\$/m);
  });

  for (const [fault, change] of [
    ['wrong', { current: 'not it at all' }],
    ['differ', { repeated: 'another one, mistyped' }],
    ['short', { next: 'short', repeated: 'short' }],
    ['long', { next: '密'.repeat(25), repeated: '密'.repeat(25) }],
    ['unfit', { next: 'tidegate_ is for tokens', repeated: 'tidegate_ is for tokens' }],
    ['unfit', { next: 'a line\nand another', repeated: 'a line\nand another' }],
  ] as const)
    test(`${fault}: ${JSON.stringify(change).slice(0, 50)}`, async () => {
      await write();
      const before = await readFile(file, 'utf8');
      assert.equal(await open().change(user('alice'), { ...form, ...change }), fault);
      assert.equal(await readFile(file, 'utf8'), before);
    });

  test('is not changed while the user is locked out', async () => {
    assert.equal(await open(1000).change(user('alice'), form), 'busy');
  });

  test('is not changed when another has changed it meanwhile, or removed the user', async () => {
    for (const meanwhile of [`alice:${hashPassword('from elsewhere', 4)}\n`, 'bob:{SHA}x\n']) {
      await write();
      const own = createOwnPassword({
        file,
        authenticator: {
          authenticate: () =>
            Promise.resolve({ kind: 'verified', principal: user('alice'), scheme: 'basic' }),
          hashOf: () => hashPassword(old, 4),
        },
        pool: { hash: () => writeFile(file, meanwhile).then(() => hashPassword(next, 4)) },
        presentHash,
      });
      assert.equal(await own.change(user('alice'), form), 'wrong');
      assert.equal(await readFile(file, 'utf8'), meanwhile);
    }
  });
});
