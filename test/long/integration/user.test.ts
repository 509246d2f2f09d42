import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';
import { mainPath, run, stop, tidegate } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';

describe('tidegate user', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-user-'));
    file = join(folder, 'htpasswd');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const user = (args: readonly string[], input?: string) =>
    tidegate(['user', ...args, '--file', file], { ...(input !== undefined && { input }), cwd: folder });
  const names = () => {
    const { entries, problems } = parseHtpasswd(readFileSync(file, 'utf8'), {
      maxBcryptCost: 10,
      maxShaCryptRounds: 5000,
    });
    assert.deepEqual(problems, []);
    return [...entries.keys()].sort();
  };
  const succeeds = async (args: readonly string[], input?: string) => {
    const { code, stdout, stderr } = await user(args, input);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    return stdout;
  };
  const fails = async (code: number, pattern: RegExp, args: readonly string[], input?: string) => {
    const finished = await user(args, input);
    assert.equal(finished.code, code, finished.stderr);
    assert.match(finished.stderr, pattern);
    assert.equal(finished.stdout, '');
  };

  it('refuses a name that is not UTF-8, before it asks for a password', async () => {
    const { code, stderr } = await run('sh', [
      '-c',
      '"$0" "$1" user add "$(printf "zo\\353")" --file "$2" </dev/null',
      ...[process.execPath, mainPath, file],
    ]);
    assert.equal(code, 1);
    assert.equal(stderr, 'The user name is not encoded in UTF-8: choose another.\n');
    assert.equal(existsSync(file), false);
  });

  it('lists the others where a comment and a name are in Latin-1, and the line of the name', async () => {
    const hash = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=';
    writeFileSync(file, `# K\xe4se\nz\xebo:${hash}\nbob:${hash}\n`, 'latin1');
    assert.equal(
      await succeeds(['list']),
      'bob  sha1\n(line 2 is not used: its name is not encoded in UTF-8)\n',
    );
    assert.match(await succeeds(['verify', 'bob'], 'secret\n'), /^This is the password of/);
  });

  it('adds, lists, verifies, changes and removes', async () => {
    assert.equal(await succeeds(['add', 'alice'], 'secret\n'), `Added alice to ${file}.\n`);
    assert.equal(await succeeds(['add', 'zoë'], 'a:b c\r\n'), `Added zoë to ${file}.\n`);
    assert.match(await succeeds(['list']), /^alice {2}bcrypt\nzoë {4}bcrypt\n$/);
    assert.match(await succeeds(['verify', 'zoë'], 'a:b c\n'), /^This is the password of/);
    await fails(1, /^This is not the password of alice in .*\.\n$/, ['verify', 'alice'], 'Secret\n');
    await fails(1, /There is no user bob/, ['verify', 'bob'], 'secret\n');
    assert.match(await succeeds(['add', 'alice'], 'second'), /Changed the password of alice/);
    assert.match(await succeeds(['verify', 'alice'], 'second\nignored\n'), /^This is the password of/);
    assert.match(await succeeds(['add', 'alice', '--password-stdin'], 'third\n'), /Changed the password/);
    assert.match(
      await succeeds(['verify', 'alice', '--password-stdin'], 'third\n'),
      /^This is the password of/,
    );
    assert.match(await succeeds(['remove', 'alice']), /Removed alice/);
    const again = await user(['remove', 'alice']);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^There is no user alice in .*\.\n$/);
    assert.match(again.stdout, /^Found no machine tokens to revoke: there is no .*tokens\.yml\./);
    assert.deepEqual(names(), ['zoë']);
  });

  it('works on config/htpasswd where no file is named', async () => {
    mkdirSync(join(folder, 'config'));
    const { code } = await tidegate(['user', 'add', 'alice'], { input: 'x\n', cwd: folder });
    assert.equal(code, 0);
    assert.ok(existsSync(join(folder, 'config/htpasswd')));
  });

  it('lists what cannot be used without showing it, and no escape sequence', async () => {
    writeFileSync(file, `bob:plainSecret\nev\u001b[31mil:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n`);
    const listed = await succeeds(['list']);
    assert.match(listed, /^ev\uFFFD\[31mil {2}sha1\n\(line 1 is not used: .*\)\n$/);
    assert.ok(!listed.includes('plainSecret'));
  });

  it('refuses bad names and passwords, and leaves no file', async () => {
    await fails(1, /holds a colon/, ['add', 'a:b'], 'secret\n');
    await fails(1, /The password is empty/, ['add', 'alice'], '\n');
    await fails(1, /The password is empty/, ['add', 'alice'], '');
    await fails(1, /longer than 72 bytes/, ['add', 'alice'], 'é'.repeat(37));
    await fails(1, /too long/, ['add', 'alice'], 'x'.repeat(100_000));
    await fails(1, /does not exist/, ['list']);
    assert.match((await user(['remove', 'alice'])).stderr, /^The htpasswd file .* does not exist\.\n$/);
    await fails(1, /does not exist/, ['verify', 'alice'], 'x');
    assert.deepEqual(readdirSync(folder), []);
  });

  it('wrong usage exits with 2', async () => {
    for (const command of ['add', 'remove', 'verify']) await fails(2, /missing required argument/, [command]);
    await fails(2, /unknown option/, ['list', '--what']);
    await fails(2, /./, ['rename', 'x']);
  });

  it('edits at the same time never lose one another', async () => {
    writeFileSync(file, '# kept\n');
    const all = Array.from({ length: 8 }, (_, i) => `user${i}`);
    await Promise.all(all.map((name) => succeeds(['add', name], `${name}\n`)));
    assert.deepEqual(names(), all);
    await Promise.all([
      ...all.slice(0, 4).map((name) => succeeds(['remove', name])),
      succeeds(['add', 'last'], 'x'),
    ]);
    assert.deepEqual(names(), ['last', ...all.slice(4)]);
    assert.match(readFileSync(file, 'utf8'), /^# kept\n/);
    assert.deepEqual(readdirSync(folder), ['htpasswd']);
  });

  it('killed at any time it leaves the old file or the new one, whole', async () => {
    const old = `# kept\n${Array.from({ length: 20_000 }, (_, i) => `u${i}:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n`).join('')}`;
    for (let round = 0; round < 8; round++) {
      writeFileSync(file, old);
      rmSync(`${file}.lock`, { force: true });
      const child = spawn(process.execPath, [mainPath, 'user', 'add', 'alice', '--file', file], {
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      child.stdin.end('secret\n');
      const exited = once(child, 'exit');
      // The lock appears when the edit begins; from there on each round strikes a little later.
      while (!existsSync(`${file}.lock`) && child.exitCode === null) await new Promise(setImmediate);
      for (let wait = 0; wait < round * 20; wait++) await new Promise(setImmediate);
      child.kill('SIGKILL');
      await exited;
      const now = readFileSync(file, 'utf8');
      assert.ok(
        now === old || (now.startsWith(old) && /^alice:\$2y\$10\$.{53}\n$/.test(now.slice(old.length))),
      );
    }
  });

  describe('on a terminal', { skip: unlessInstalled('script', 'stty') }, () => {
    /** Runs `user add alice` under util-linux's script, which gives it a terminal; types each text once its cue was shown. */
    async function onTerminal(dialogue: readonly (readonly [cue: string, typed: string])[], verb = 'add') {
      const program = `'${process.execPath}' '${mainPath}' user ${verb} alice --file '${file}'; code=$?; stty -a; exit $code`;
      const child = spawn('script', ['-q', '-e', '-c', program, '/dev/null'], {
        stdio: ['pipe', 'pipe', 'ignore'],
        env: { ...process.env, SHELL: '/bin/sh' },
      });
      let shown = '';
      let unread = '';
      const steps = [...dialogue];
      child.stdout.on('data', (chunk: Buffer) => {
        shown += chunk.toString();
        unread += chunk.toString();
        const [step] = steps;
        if (step === undefined || !unread.includes(step[0])) return;
        unread = '';
        steps.shift();
        child.stdin.write(step[1]);
      });
      const impatient = setTimeout(() => void stop(child, 'SIGKILL'), 30_000);
      const [code] = (await once(child, 'close')) as [number | null];
      clearTimeout(impatient);
      assert.match(shown, /[^-]\becho\b/, 'the terminal echoes again');
      assert.match(shown, /[^-]\bicanon\b/, 'the terminal reads lines again');
      return { code, shown };
    }

    it('asks twice without echo', async () => {
      const { code, shown } = await onTerminal([
        ['New password: ', 'sécret!x\u007f\r'],
        ['Again: ', 'wrong\u0015sécret!\r'],
      ]);
      assert.equal(code, 0, shown);
      assert.match(shown, /New password: \r\nAgain: \r\nAdded alice/);
      await succeeds(['verify', 'alice'], 'sécret!\n');
    });

    it('refuses two that differ', async () => {
      const { code, shown } = await onTerminal([
        ['New password: ', 'one\r'],
        ['Again: ', 'two\r'],
      ]);
      assert.equal(code, 1);
      assert.match(shown, /The two passwords are not the same/);
      assert.ok(!existsSync(file));
    });

    it('takes both answers from one paste', async () => {
      assert.equal((await onTerminal([['New password: ', 'secret\r\nsecret\r\n']])).code, 0);
    });

    it('Ctrl-C gives the terminal back and exits with 130', async () => {
      const { code } = await onTerminal([['New password: ', 'sec\u0003']]);
      assert.equal(code, 130);
      assert.ok(!existsSync(file));
    });

    it('Ctrl-D ends it with a sentence', async () => {
      const { code, shown } = await onTerminal([['New password: ', '\u0004']]);
      assert.equal(code, 1);
      assert.match(shown, /no password was given/);
    });

    it('verify asks once', async () => {
      await succeeds(['add', 'alice'], 'secret\n');
      const { code, shown } = await onTerminal([['Password: ', 'secret\r']], 'verify');
      assert.equal(code, 0, shown);
    });
  });
});
