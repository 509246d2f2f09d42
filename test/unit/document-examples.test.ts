import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { Command, CommanderError } from 'commander';
import { parse } from 'yaml';
import { addAlertCommand } from '../../src/cli/alert.ts';
import { addCacheCommand } from '../../src/cli/cache.ts';
import { addCertCommand } from '../../src/cli/cert/cert.ts';
import { addConfigCommand } from '../../src/cli/config.ts';
import { addCleanCommand } from '../../src/cli/clean/clean.ts';
import { addDoctorCommand } from '../../src/cli/doctor.ts';
import { addTagCommand } from '../../src/cli/tag.ts';
import { addMirrorCommand } from '../../src/cli/mirror/mirror.ts';
import { addPolicyCommand } from '../../src/cli/policy/policy.ts';
import { parseExpectations } from '../../src/cli/policy/expectation.ts';
import { addReloadCommand } from '../../src/cli/reload.ts';
import { addServeCommand } from '../../src/cli/serve.ts';
import { addTokenCommand } from '../../src/cli/token.ts';
import { addUsageCommand } from '../../src/cli/usage.ts';
import { addUserCommand } from '../../src/cli/user.ts';
import { loadConfig } from '../../src/config/load/load.ts';
import { listPages, readBlocks, readCommands, root, type Block } from '../support/documents.ts';

const blocks = listPages().flatMap(readBlocks);
const commands = listPages().flatMap(readCommands);
const dir = mkdtempSync(path.join(tmpdir(), 'tidegate-documents-'));
after(() => rmSync(dir, { recursive: true, force: true }));

/** The program, whose commands do nothing but take their arguments. */
function createProgram(): Command {
  const program = new Command('tidegate').version('0');
  for (const add of [
    addServeCommand,
    addReloadCommand,
    addCertCommand,
    addUserCommand,
    addTokenCommand,
    addUsageCommand,
    addConfigCommand,
    addMirrorCommand,
  ])
    add(program);
  const others = [addPolicyCommand, addCacheCommand, addDoctorCommand, addAlertCommand, addCleanCommand];
  for (const add of [...others, addTagCommand]) add(program);
  disarm(program);
  return program;
}

function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  if (command.commands.length === 0) command.action(() => {});
  command.commands.forEach(disarm);
}

/** What a script says of its use. */
function readUsage(file: string): string {
  const args = [path.join(root, file), '--help'];
  const { stdout, stderr } = spawnSync(file.endsWith('.sh') ? 'bash' : process.execPath, args, {
    encoding: 'utf8',
  });
  return stdout + stderr;
}

function assertFlags(words: readonly string[], usage: string, where: string): void {
  for (const word of words.filter((each) => each.startsWith('--') && each !== '--help'))
    assert.match(usage, new RegExp(`${word}\\b`), where);
}

const place = ({ page, line }: { page: string; line: number }): string => `${page}:${line}`;
const ofKind = (kind: string): Block[] => blocks.filter((block) => block.kind === kind);

describe('documents', () => {
  const limits = { 'README.md': 12, 'README.zh-CN.md': 4.5, 'ARCHITECTURE.md': 15, 'SECURITY.md': 4 };
  for (const [page, kilobytes] of Object.entries(limits))
    it(`${page} has at most ${kilobytes} KB`, () => {
      const { length } = readFileSync(path.join(root, page));
      assert.ok(length <= kilobytes * 1024, `${length} bytes`);
    });

  it('no other page has more than 25 KB, but the reference and the change log', () => {
    for (const page of listPages().filter((each) => !/REFERENCE|CHANGELOG/.test(each))) {
      const { length } = readFileSync(path.join(root, page));
      assert.ok(length <= 25 * 1024, `${page} has ${length} bytes`);
    }
  });

  it('docs/README.md names every page below docs/', () => {
    const links = `${readFileSync(path.join(root, 'docs/README.md'), 'utf8')}${readFileSync(path.join(root, 'ARCHITECTURE.md'), 'utf8')}`;
    for (const page of listPages().filter((each) => /^docs\/./.test(each) && each !== 'docs/README.md'))
      assert.match(links, new RegExp(`\\((docs/)?${page.replace('docs/', '')}\\)`), page);
  });

  it('say nothing in blocks that are indented, which no test reads', () => {
    for (const { page, line } of ofKind('indented')) assert.fail(`${page}:${line}`);
  });
});

describe('examples in documents', () => {
  it('configurations are valid', async () => {
    let checked = 0;
    for (const block of ofKind('yaml')) {
      const file = path.join(dir, `${(checked += 1)}.yml`);
      if (Array.isArray(parse(block.text))) {
        assert.deepEqual(parseExpectations(block.text, place(block)).problems, []);
        continue;
      }
      writeFileSync(file, block.text);
      const variables = [...block.text.matchAll(/_env:(\w+)/g)].map(([, name = '']) => [
        name,
        name.endsWith('_KEY') ? 'A'.repeat(43) : 'https://x.example',
      ]);
      const env = Object.fromEntries(variables) as NodeJS.ProcessEnv;
      const sources = { configPath: file, flavor: undefined, set: [], env, cwd: dir };
      await loadConfig(sources).catch((error: unknown) => assert.fail(`${place(block)}: ${String(error)}`));
    }
    assert.ok(checked > 10);
  });

  it('JSON is JSON', () => {
    for (const block of ofKind('json'))
      assert.doesNotThrow(() => JSON.parse(block.text) as unknown, place(block));
  });

  it('scripts are right to a shell', () => {
    for (const block of ofKind('sh')) {
      const run = () => execFileSync('bash', ['-n'], { input: block.text, stdio: ['pipe', 'pipe', 'pipe'] });
      assert.doesNotThrow(run, place(block));
    }
  });

  it('commands of tidegate are taken, with their flags', async () => {
    const own = commands.filter(({ program, words }) => program === 'tidegate' && words.length > 0);
    assert.ok(own.length > 60, String(own.length));
    for (const command of own) {
      const taken = createProgram().parseAsync(command.words, { from: 'user' });
      await taken.catch((error: unknown) => {
        assert.ok(error instanceof CommanderError, String(error));
        const isMention = command.isInProse && error.code === 'commander.missingArgument';
        assert.ok(
          isMention || error.exitCode === 0,
          `${place(command)}: tidegate ${command.words.join(' ')}: ${String(error)}`,
        );
      });
    }
  });

  it('scripts of npm are there, with their flags', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const command of commands.filter(({ program }) => program === 'npm')) {
      const [first = '', second = ''] = command.words;
      if (!['start', 'test', 'run'].includes(first)) continue;
      const script = scripts[first === 'run' ? second : first];
      assert.ok(script !== undefined, `${place(command)}: npm ${command.words.join(' ')}`);
      const flags = command.words.includes('--') ? command.words.slice(command.words.indexOf('--') + 1) : [];
      const file = /\S+\.mjs$/.exec(script)?.[0];
      if (flags.length > 0 && file !== undefined) assertFlags(flags, readUsage(file), place(command));
    }
  });

  it('the installer has the flags that are named', () => {
    const usage = readUsage('deploy/install.sh');
    const calls = commands.filter(({ program }) => program === 'deploy/install.sh');
    assert.ok(calls.length > 3);
    for (const command of calls) assertFlags(command.words, usage, place(command));
  });

  it('files that pages name are there', () => {
    const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' });
    for (const page of listPages().filter((each) => !/CHANGELOG|torture/.test(each))) {
      const text = readFileSync(path.join(root, page), 'utf8');
      for (const [, file = ''] of text.matchAll(/`((?:src|docs|deploy|release|test)\/[\w./-]+\.\w+)`/g))
        assert.ok(existsSync(path.join(root, file)), `${page}: ${file}`);
      for (const [, file = ''] of text.matchAll(/(?:`|│ )(?:src\/|…\/)?([\w/-]+\.ts)\b/g))
        assert.ok(
          file.startsWith('test/') || sources.some((name) => `/${name}`.endsWith(`/${file}`)),
          `${page}: ${file}`,
        );
    }
  });
});
