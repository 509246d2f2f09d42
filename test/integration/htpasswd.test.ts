import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthenticator } from '../../src/auth/authenticator.ts';
import { addUser } from '../../src/auth/htpasswd/htpasswd-editor.ts';
import { openHtpasswdFile } from '../../src/auth/htpasswd/htpasswd-file.ts';
import { parseHtpasswd } from '../../src/auth/htpasswd/htpasswd.ts';
import { verifyPassword } from '../../src/auth/password/password-hash.ts';
import { createPasswordPool } from '../../src/auth/password/password-pool.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { noMachines } from '../support/machines.ts';
import { createThrottle } from '../support/throttle.ts';

const limits = { maxBcryptCost: 14, maxShaCryptRounds: 500_000 };
const passwords = [
  'secret',
  '',
  'with:colons:in it',
  'pässwörd £ 日本',
  'x'.repeat(80),
  'a'.repeat(16),
  'b'.repeat(33),
];

describe('files of Apache’s htpasswd', { skip: unlessInstalled('htpasswd') }, () => {
  let folder: string;
  let alive: NodeJS.Timeout;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-apache-'));
    alive = setInterval(() => undefined, 60_000); // the pool's threads never keep a process alive
  });
  after(() => {
    clearInterval(alive);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs htpasswd with the password on its standard input. */
  function htpasswd(flags: readonly string[], file: string, name: string, password: string): number | null {
    const child = spawnSync('htpasswd', ['-i', ...flags, file, name], { input: `${password}\n` });
    return child.status;
  }

  for (const [flag, kind, flags] of [
    ['-B', 'bcrypt', ['-B', '-C', '5']],
    ['-m', 'apr1', ['-m']],
    ['no flag', 'apr1', []],
    ['-s', 'sha1', ['-s']],
    ['-2', 'sha256-crypt', ['-2']],
    ['-2 -r 12345', 'sha256-crypt', ['-2', '-r', '12345']],
    ['-5', 'sha512-crypt', ['-5']],
    ['-5 -r 1000', 'sha512-crypt', ['-5', '-r', '1000']],
  ] as const) {
    it(`${flag}: every password it hashed is known, no other`, () => {
      for (const [number, password] of passwords.entries()) {
        const file = join(folder, `made${number}`);
        assert.equal(htpasswd(['-c', ...flags], file, 'zoë', password), 0);
        const { entries, problems } = parseHtpasswd(readFileSync(file, 'utf8'), limits);
        assert.deepEqual(problems, []);
        const entry = entries.get('zoë');
        assert.equal(entry?.kind, kind);
        assert.equal(verifyPassword(password, entry.hash), true, password);
        assert.equal(verifyPassword(`!${password}`, entry.hash), false);
      }
    });
  }

  for (const flag of ['-d', '-p']) {
    it(`${flag}: the line is refused by its number`, () => {
      const file = join(folder, 'refused');
      assert.equal(htpasswd(['-c', '-s'], file, 'alice', 'secret'), 0);
      assert.equal(htpasswd([flag], file, 'bob', 'S3cret'), 0);
      const { entries, problems } = parseHtpasswd(readFileSync(file, 'utf8'), limits);
      assert.deepEqual([...entries.keys()], ['alice']);
      assert.deepEqual(
        problems.map(({ line }) => line),
        [2],
      );
      assert.ok(!JSON.stringify(problems).includes('S3cret'));
    });
  }

  it('all kinds in one file, end to end; the file is followed while htpasswd edits it', async () => {
    const file = join(folder, 'mixed');
    writeFileSync(file, '# users\r\n\r\n');
    const kinds = ['-B', '-m', '-s', '-2', '-5', '-d', '-p'];
    for (const kind of kinds) assert.equal(htpasswd([kind], file, `user${kind}`, `pw${kind}`), 0);
    const warnings: string[] = [];
    const logger = {
      info: () => undefined,
      error: () => undefined,
      warn: (_fields: object, message: string) => void warnings.push(message),
    };
    const authenticator = createAuthenticator({
      machines: noMachines,
      htpasswd: await openHtpasswdFile({ path: file, ...limits, logger }),
      pool: createPasswordPool({ threads: 2, maxQueued: 100 }),
      throttle: createThrottle(),
      credentialTtlMs: 60_000,
      maxCredentials: 100,
    });
    const check = async (name: string, password: string) => {
      const value = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
      return (await authenticator.authenticate([value], '127.0.0.1')).kind;
    };
    try {
      assert.match(warnings.join(), /line 8: .*line 9: /);
      for (const kind of kinds) {
        const expected = kind === '-d' || kind === '-p' ? 'refused' : 'verified';
        assert.equal(await check(`user${kind}`, `pw${kind}`), expected, kind);
        assert.equal(await check(`user${kind}`, 'wrong'), 'refused', kind);
      }
      assert.equal(spawnSync('htpasswd', ['-D', file, 'user-m']).status, 0);
      const deadlineMs = performance.now() + 2000;
      while ((await check('user-m', 'pw-m')) !== 'refused') {
        assert.ok(performance.now() < deadlineMs);
        await sleep(20); // what is remembered is answered at once, and would leave no time to see the change
      }
      assert.equal(await check('user-B', 'pw-B'), 'verified');
    } finally {
      await authenticator.close();
    }
  });

  it('htpasswd knows the passwords that we write, and keeps our file', async () => {
    const file = join(folder, 'ours');
    for (const password of passwords.filter((candidate) => candidate !== '' && candidate.length < 73)) {
      await addUser({ file, name: 'alice', password });
      assert.equal(htpasswd(['-v'], file, 'alice', password), 0, password);
      assert.equal(htpasswd(['-v'], file, 'alice', `${password}!`), 3);
    }
  });
});
