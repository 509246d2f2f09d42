import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hashMachineToken, isMachineToken } from '../../src/auth/machine-tokens/machine-token.ts';
import { tidegate, type Finished } from '../support/processes.ts';

const day = 24 * 60 * 60 * 1000;
/** Who may not write may not chown either; these tests do not ask. */
const htpasswd = 'alice:{SHA}EfathnjLbUoRHKVIJgZ5bRQ2pWk=\nbob:{SHA}EfathnjLbUoRHKVIJgZ5bRQ2pWk=\n';

describe('the command token', () => {
  let dir: string;
  let tokensPath: string;
  before(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'tidegate-token-'));
    tokensPath = path.join(dir, 'tokens.yml');
    writeFileSync(path.join(dir, 'htpasswd'), htpasswd, { mode: 0o640 });
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const token = (...args: string[]): Promise<Finished> =>
    tidegate(['token', ...args, '--file', tokensPath], { cwd: dir });
  const text = () => readFileSync(tokensPath, 'utf8');
  const made = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await token(...args);
    assert.equal(code, 0, stderr);
    assert.ok(isMachineToken(stdout.trimEnd()), 'the token alone goes to the standard output');
    assert.ok(!stderr.includes(stdout.trimEnd()));
    return stdout.trimEnd();
  };

  test('create prints the token once, and keeps its hash alone, for those who may read the users', async () => {
    const ci = await made(
      'create',
      'ci',
      '--repositories',
      'team-a/**,base/*',
      '--actions',
      'push,pull',
      '--expires',
      '90d',
    );
    assert.ok(text().includes(hashMachineToken(ci)));
    assert.ok(!text().includes(ci));
    assert.equal(statSync(tokensPath).mode & 0o777, 0o640);
    assert.match(text(), /"repositories":\["team-a\/\*\*","base\/\*"\],"actions":\["pull","push"\]/);
    const plain = await token('create', 'plain');
    assert.match(plain.stderr, /pull in all repositories, never expires/);
    assert.match(plain.stderr, /password of `docker login -u plain`/);
    await made('create', 'owned', '--user', 'alice');
  });

  test('list shows owner, scopes, expiry and last use, and no hash', async () => {
    const used = { ci: { day: '2026-11-29', address: '192.0.2.7' } };
    writeFileSync(path.join(dir, 'tokens.used.json'), JSON.stringify({ since: '2026-11-29', used }));
    const { code, stdout } = await token('list');
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^ci +- +pull,push in team-a\/\*\*,base\/\* +expires \S+Z +2026-11-29 from 192\.0\.2\.7$/m,
    );
    assert.match(stdout, /^owned +alice +pull in all repositories +never expires +-$/m);
    assert.doesNotMatch(stdout, /[0-9a-f]{64}/);
  });

  for (const [what, args, code, sentence] of [
    ['the name of a user', ['create', 'alice'], 1, /There is a user alice/],
    ['a name that is taken', ['create', 'ci'], 1, /There is a machine token ci .*token rotate ci/],
    ['a name with a colon', ['create', 'a:b'], 1, /1 to 64 letters/],
    ['a token for a name', ['create', 'tidegate_x'], 1, /1 to 64 letters/],
    ['an owner that there is not', ['create', 'x', '--user', 'nobody'], 1, /no user nobody/],
    ['an action that there is not', ['create', 'x', '--actions', 'pull,overwrite'], 2, /pull,push,delete/],
    ['a pattern that is none', ['create', 'x', '--repositories', 'Team/**'], 2, /in lower case/],
    ['${user}', ['create', 'x', '--repositories', 'home/${user}/**'], 2, /a machine token is no user/],
    ['an expiry without a unit', ['create', 'x', '--expires', '90'], 2, /90d/],
    ['an end that is now', ['create', 'x', '--expires', '0'], 2, /90d/],
    ['no name', ['create'], 2, /name/],
    ['another name to revoke', ['revoke', 'x'], 1, /no machine token x/],
    ['another name to rotate', ['rotate', 'x'], 1, /no machine token x/],
  ] as const) {
    test(`refuses ${what}, and changes nothing`, async () => {
      const before = text();
      const done = await token(...args);
      assert.equal(done.code, code, done.stderr);
      assert.match(done.stderr, sentence);
      assert.equal(done.stdout, '');
      assert.equal(text(), before);
    });
  }

  test('rotate gives another token with the same scopes and lifetime, and keeps all other lines', async () => {
    const other = `- {name: byhand, sha256: ${'0'.repeat(63)}a, repositories: ['**'], actions: [pull]} # mine\n`;
    writeFileSync(tokensPath, text() + other);
    const before = text().split('\n');
    const again = await made('rotate', 'ci');
    const lines = text().split('\n');
    assert.deepEqual(
      lines.map((line, at) => (line === before[at] ? '' : line)).filter((line) => line !== ''),
      lines.filter((line) => line.includes(hashMachineToken(again))),
    );
    const entry = JSON.parse(lines.find((line) => line.includes('"ci"'))?.slice(2) ?? '') as Record<
      string,
      string
    >;
    assert.equal(Date.parse(entry['expires'] ?? '') - Date.parse(entry['created'] ?? ''), 90 * day);
    const shorter = await token('rotate', 'ci', '--expires', '7d');
    assert.equal(shorter.code, 0);
    await made('rotate', 'plain');
    assert.match((await token('list')).stdout, /^plain .*never expires/m);
  });

  test('revoke takes the token out, and user remove those of the user', async () => {
    assert.match((await token('revoke', 'byhand')).stdout, /Revoked byhand/);
    assert.ok(!text().includes('byhand'));
    await made('create', 'also', '--user', 'bob');
    const removed = await tidegate(['user', 'remove', 'alice', '--file', path.join(dir, 'htpasswd')]);
    assert.equal(removed.code, 0);
    assert.match(removed.stdout, /Revoked the machine token owned of alice/);
    assert.match((await token('list')).stdout, /^also +bob/m);
    assert.ok(!text().includes('owned'));
  });

  test('user remove says when the tokens of the user cannot be revoked', async () => {
    const before = text();
    writeFileSync(tokensPath, '- {');
    const removed = await tidegate(['user', 'remove', 'bob', '--file', path.join(dir, 'htpasswd')]);
    assert.equal(removed.code, 1);
    assert.match(removed.stdout, /Removed bob/);
    assert.match(removed.stderr, /stay refused only as long as there is no such user/);
    for (const args of [['list'], ['create', 'y'], ['revoke', 'also']] as const) {
      const done = await token(...args);
      assert.equal(done.code, 1);
      assert.match(done.stderr, /tokens\.yml cannot be (?:used|edited): line 1/);
    }
    writeFileSync(tokensPath, before);
  });

  const user = (...args: string[]): Promise<Finished> =>
    tidegate(['user', ...args, '--file', path.join(dir, 'htpasswd')], { input: 'secret\n' });

  test('user remove revokes before it removes, and also where the user is already gone', async () => {
    const line = (name: string, owner: string, hash: string, actions = 'pull') =>
      `- ${JSON.stringify({ name, sha256: hash.repeat(64), repositories: ['**'], actions: [actions], owner })}\n`;
    const before = text();
    writeFileSync(
      tokensPath,
      line('left', 'carol', '1') +
        line('kept', 'alice', '2') +
        line('wrong', 'carol', '3', 'fly') +
        line('kept', 'carol', '4'),
    );
    const refused = await user('add', 'carol');
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /carol has left machine tokens in .*tokens\.yml \(left, wrong, kept\): .*user remove carol/,
    );
    const removed = await user('remove', 'carol');
    assert.equal(removed.code, 1);
    assert.match(removed.stderr, /^There is no user carol in /);
    assert.match(removed.stdout, /^Revoked the machine token left of carol in /);
    assert.equal(text(), line('kept', 'alice', '2'));
    assert.match(
      (await user('add', 'kept')).stderr,
      /^There is a machine token kept in .*choose another name/,
    );
    assert.equal((await user('add', 'carol')).code, 0);
    writeFileSync(tokensPath, before + line('mine', 'carol', '5'));
    const changed = await user('add', 'carol');
    assert.match(changed.stdout, /^Changed the password of carol/, changed.stderr);
    assert.match(
      (await user('remove', 'carol')).stdout,
      /^Revoked the machine token mine of carol in .*\nRemoved carol from /,
    );
    assert.equal(text(), before);
  });

  test('user add of a new name is refused while the file of tokens cannot be read', async () => {
    const before = text();
    writeFileSync(tokensPath, '- {');
    const refused = await user('add', 'dave');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /tokens\.yml cannot be used: line 1/);
    writeFileSync(tokensPath, before);
  });

  test('user remove says where it found no file of tokens', async () => {
    assert.equal((await user('add', 'erin')).code, 0);
    const removed = await user('remove', 'erin', '--tokens', path.join(dir, 'elsewhere.yml'));
    assert.equal(removed.code, 0);
    assert.match(
      removed.stdout,
      /^Found no machine tokens to revoke: there is no .*elsewhere\.yml\..*--tokens/,
    );
  });

  for (const command of ['revoke', 'rotate'])
    test(`${command} brings no entry with the same secret into effect`, async () => {
      const before = text();
      const line = (name: string, hash: string) =>
        `- ${JSON.stringify({ name, sha256: hash.repeat(64), repositories: ['**'], actions: ['pull'] })}\n`;
      // b has the secret of a; the later b comes into effect without the first.
      writeFileSync(
        tokensPath,
        line('a', '1') + line('b', '1') + line('b', '2') + line('c', '3') + line('c', '1'),
      );
      assert.equal((await token(command, 'a')).code, 0);
      const { stdout } = await token('list');
      assert.deepEqual(
        stdout.split('\n').flatMap((row) => /^(\w) /.exec(row)?.[1] ?? []),
        command === 'revoke' ? ['c'] : ['a', 'c'],
      );
      assert.doesNotMatch(text(), /1{64}/);
      writeFileSync(tokensPath, before);
    });

  test('a password that starts as a token is none for a user', async () => {
    const added = await tidegate(['user', 'add', 'eve', '--file', path.join(dir, 'htpasswd')], {
      input: 'tidegate_secret\n',
    });
    assert.equal(added.code, 1);
    assert.match(added.stderr, /starts with tidegate_/);
  });

  test('many at the same time each see what the one before has done', async () => {
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((name) => token('create', name)));
    for (const { code, stderr } of all) assert.equal(code, 0, stderr);
    assert.match(text(), /"a"(?:.|\n)*/);
    for (const name of ['a', 'b', 'c', 'd']) assert.ok(text().includes(`"name":"${name}"`));
  });
});
