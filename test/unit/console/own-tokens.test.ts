import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { hashMachineToken, isMachineToken } from '../../../src/auth/machine-tokens/machine-token.ts';
import { parseTokenList } from '../../../src/auth/machine-tokens/token-list.ts';
import { loadTokenList } from '../../../src/auth/machine-tokens/token-list-file.ts';
import { createOwnTokens, type TokenDraft } from '../../../src/console/changes/own-tokens.ts';
import { createPolicy } from '../../../src/policy/policy.ts';
import { checkGrantPattern } from '../../../src/policy/token-grants.ts';
import { user } from '../../support/principals.ts';

const alice = user('alice');
const draft: TokenDraft = { name: 'ci', repositories: 'team/**', actions: ['pull', 'push'], days: 90 };
const nowMs = Date.parse('2026-11-29T12:00:00Z');
const policy = createPolicy({
  rules: [{ who: ['authenticated'], repositories: ['**'], actions: ['pull', 'push'] }],
  groups: {},
});

describe('tokens of one’s own', () => {
  let dir: string;
  let file: string;
  let operators: string;
  before(async () => (dir = await mkdtemp(path.join(tmpdir(), 'tidegate-own-tokens-'))));
  after(() => rm(dir, { recursive: true }));
  beforeEach(async () => {
    file = path.join(dir, 'state', 'personal-tokens.yml');
    operators = path.join(dir, 'tokens.yml');
    await rm(path.dirname(file), { recursive: true, force: true });
    await rm(operators, { force: true });
  });
  /** All tokens of a file, as a process has read them that follows it. */
  const read = (path: string) => ({
    all: () =>
      existsSync(path) ? [...parseTokenList(readFileSync(path), checkGrantPattern).entries.values()] : [],
  });
  const open = () =>
    createOwnTokens({
      ...{ file, operators, policy },
      inEffect: { personal: read(file), operators: read(operators) },
      hasUser: (name) => name === 'bob',
      isInEffect: (name) => readFileSync(file, 'utf8').includes(name),
      now: () => nowMs,
    });

  test('are made, listed and revoked, and the file has no token', async () => {
    const tokens = open();
    assert.ok(await tokens.canChange());
    const made = await tokens.make(alice, draft);
    assert.ok('token' in made && isMachineToken(made.token));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const { list } = await loadTokenList(file, checkGrantPattern);
    assert.equal(list.entries.get('ci')?.sha256, hashMachineToken(made.token));
    assert.deepEqual(await tokens.list('alice'), [
      {
        name: 'ci',
        repositories: ['team/**'],
        actions: ['pull', 'push'],
        createdMs: nowMs,
        expiresMs: nowMs + 90 * 24 * 60 * 60 * 1000,
        lastUse: null,
        isOwn: true,
      },
    ]);
    assert.deepEqual(await tokens.list('carol'), []);
    assert.equal(await tokens.revoke('carol', 'ci'), false);
    assert.equal(await tokens.revoke('alice', 'ci'), true);
    assert.deepEqual(await tokens.list('alice'), []);
  });

  for (const [fault, change] of [
    ['name', { name: 'two words' }],
    ['name', { name: '' }],
    ['name', { name: '<script>' }],
    ['taken', { name: 'bob' }],
    ['actions', { actions: [] }],
    ['actions', { actions: ['everything'] }],
    ['actions', { actions: ['pull', 'delete'] }],
    ['repositories', { repositories: 'a/**/${user}' }],
    ['repositories', { repositories: 'UPPER' }],
    ['repositories', { repositories: Array.from({ length: 21 }, (_, at) => `a${at}`).join() }],
  ] as const)
    test(`${fault}: ${JSON.stringify(change).slice(0, 60)}`, async () => {
      assert.deepEqual(await open().make(alice, { ...draft, ...change }), { fault });
    });

  test('have names that nobody has taken, operators neither', async () => {
    const tokens = open();
    assert.ok('token' in (await tokens.make(alice, draft)));
    assert.deepEqual(await tokens.make(user('carol'), draft), { fault: 'taken' });
    const line = {
      name: 'robot',
      sha256: 'a'.repeat(64),
      repositories: ['**'],
      actions: ['pull'],
      owner: 'alice',
    };
    await writeFile(operators, `- ${JSON.stringify(line)}\n`);
    assert.deepEqual(await tokens.make(alice, { ...draft, name: 'robot' }), { fault: 'taken' });
    assert.equal(await tokens.revoke('alice', 'robot'), false);
    assert.deepEqual(
      (await tokens.list('alice')).map(({ name, isOwn }) => [name, isOwn]),
      [
        ['ci', true],
        ['robot', false],
      ],
    );
  });

  test('are those in effect, also where a file cannot be read just now', async () => {
    const tokens = open();
    const made = await tokens.make(alice, draft);
    assert.ok('entry' in made);
    const held = createOwnTokens({
      ...{ file, operators, policy, now: () => nowMs, hasUser: () => false, isInEffect: () => true },
      inEffect: { personal: { all: () => [made.entry] }, operators: { all: () => [] } },
    });
    await writeFile(operators, '- {');
    assert.deepEqual(
      (await held.list('alice')).map(({ name }) => name),
      ['ci'],
    );
  });

  test('are at most twenty', async () => {
    const tokens = open();
    for (let made = 0; made < 20; made++)
      assert.ok('token' in (await tokens.make(alice, { ...draft, name: `t${made}` })));
    assert.deepEqual(await tokens.make(alice, draft), { fault: 'tooMany' });
    assert.ok('token' in (await tokens.make(user('carol'), draft)));
  });

  test('are at most twenty, and each has a name of its own, also when all are made at once', async () => {
    const tokens = open();
    const make = (name: string) => tokens.make(alice, { ...draft, name });
    const made = await Promise.all(['t0', ...Array.from({ length: 22 }, (_, at) => `t${at}`)].map(make));
    const faults = made.map((one) => ('fault' in one ? one.fault : 'made'));
    assert.equal(faults.filter((fault) => fault === 'made').length, 20);
    assert.deepEqual(new Set(faults), new Set(['made', 'taken', 'tooMany']));
    assert.equal((await tokens.list('alice')).length, 20);
  });

  test('act everywhere, and never expire, where that is said', async () => {
    const made = await open().make(alice, { ...draft, repositories: ' ', days: 0 });
    assert.ok('entry' in made);
    assert.deepEqual(made.entry.principal.grant.repositories, ['**']);
    assert.equal(made.entry.expiresMs, null);
  });
});
