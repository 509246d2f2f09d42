import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, mock, test } from 'node:test';
import { formatToken } from '../../../src/auth/machine-tokens/token-list.ts';
import { openTokenListFile } from '../../../src/auth/machine-tokens/token-list-file.ts';
import { joinTokenLists, sweepPersonalTokens } from '../../../src/auth/machine-tokens/personal-tokens.ts';
import { checkGrantPattern } from '../../../src/policy/token-grants.ts';
import { machineToken } from '../../support/principals.ts';

const logger = { info: () => {}, warn: () => {}, error: () => {} };
const lineOf = (name: string, digit: string, owner: string | null) =>
  `${formatToken({ principal: machineToken(name, { owner }), sha256: digit.repeat(64), createdMs: null, expiresMs: null })}\n`;

describe('personal tokens', () => {
  let dir: string;
  before(async () => (dir = await mkdtemp(path.join(tmpdir(), 'tidegate-personal-tokens-'))));
  after(() => rm(dir, { recursive: true }));
  const open = async (name: string, text: string, isPersonal: boolean) => {
    const file = path.join(dir, name);
    await writeFile(file, text, { mode: 0o600 });
    return openTokenListFile({ path: file, checkPattern: checkGrantPattern, isPersonal, logger });
  };

  test('are found beside those of operators, whose names are theirs', async () => {
    const operators = await open('tokens.yml', lineOf('ci', 'a', null), false);
    const own = lineOf('mine', 'b', 'alice') + lineOf('ci', 'c', 'alice') + lineOf('nobodys', 'd', null);
    const personal = await open('personal-tokens.yml', own, true);
    try {
      const tokens = joinTokenLists(operators, personal);
      assert.equal(tokens.find('ci')?.principal.grant.isPersonal, undefined);
      assert.equal(tokens.find('mine')?.principal.grant.isPersonal, true);
      assert.equal(tokens.find('nobodys'), undefined);
      assert.equal(tokens.findByHash('b'.repeat(64))?.principal.name, 'mine');
      assert.equal(tokens.findByHash('c'.repeat(64)), undefined);
      assert.equal(tokens.findByHash('d'.repeat(64)), undefined);
      assert.ok(tokens.hasHeardOf('mine') && tokens.hasHeardOf('ci') && !tokens.hasHeardOf('else'));
    } finally {
      operators.close();
      personal.close();
    }
  });

  test('of users who are gone for a minute are revoked, and those of others stay', async () => {
    const file = path.join(dir, 'swept.yml');
    const tokens = await open('swept.yml', lineOf('mine', 'b', 'alice') + lineOf('his', 'c', 'bob'), true);
    const users = new Set(['bob']);
    const revoked = new Promise<void>((resolve) => {
      mock.timers.enable({ apis: ['setInterval'] });
      const stop = sweepPersonalTokens({
        edited: { file, model: file, checkPattern: checkGrantPattern },
        tokens,
        hasUser: (name) => users.has(name),
        logger: {
          info: () => {
            stop();
            resolve();
          },
          warn: (_, message) => assert.fail(message),
        },
      });
    });
    mock.timers.tick(60_000);
    assert.match(await readFile(file, 'utf8'), /"mine"/);
    mock.timers.tick(60_000);
    mock.timers.reset();
    await revoked;
    tokens.close();
    assert.equal(await readFile(file, 'utf8'), lineOf('his', 'c', 'bob'));
  });
});
