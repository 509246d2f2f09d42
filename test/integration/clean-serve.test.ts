import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { cleanCommand, startCleaner, type Cleaner } from '../support/cleaner.ts';
import { mainPath, run } from '../support/processes.ts';

const isRoot = process.getuid?.() === 0;

async function makeFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
  await mkdir(path.join(dir, 'storage'));
  await mkdir(path.join(dir, 'config'));
  t.after(() => rm(dir, { recursive: true }));
  return dir;
}

/** Writes config/tidegate.yml. */
const configure = (dir: string, clean: object, storage: string | null = path.join(dir, 'storage')) =>
  writeFile(path.join(dir, 'config/tidegate.yml'), JSON.stringify({ upstream: { storage }, clean }));

async function open(t: TestContext, dir: string): Promise<Cleaner> {
  const cleaner = await startCleaner([], dir);
  t.after(() => cleaner.stop());
  return cleaner;
}

describe('tidegate clean serve', { timeout: 360_000, concurrency: 4 }, () => {
  test('refuses a registry whose files are elsewhere and that has no collector', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {}, null);
    for (const args of [
      ['clean', 'serve'],
      ['clean', 'plan'],
      ['tag', 'remove', 'team/app:1'],
    ]) {
      const { code, stderr } = await cleanCommand(args, dir);
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, /^Set upstream\.storage to the registry's folder[^\n]*\n$/);
    }
  });

  test('refuses a storage that is not there, and creates none', async (t) => {
    const dir = await makeFolder(t);
    for (const name of ['elsewhere', 'not/there/elsewhere']) {
      await configure(dir, {}, path.join(dir, name));
      const { code, stderr } = await cleanCommand(['clean', 'serve'], dir);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^There is no folder \S+elsewhere \(upstream\.storage\)\. Write the registry's storage\.filesystem\.rootdirectory there[^\n]*\n$/,
      );
    }
    await assert.rejects(stat(path.join(dir, 'elsewhere')));
  });

  test('refuses a folder of other things', async (t) => {
    const dir = await makeFolder(t);
    // One level too high.
    await mkdir(path.join(dir, 'storage/registry/docker/registry/v2'), { recursive: true });
    await configure(dir, {});
    const { code, stderr } = await cleanCommand(['clean', 'serve'], dir);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^There is no docker\/registry\/v2 in \S+storage \(upstream\.storage\), but registry: that is no registry's folder\. Write /,
    );
    await assert.rejects(stat(path.join(dir, 'storage/tidegate-clean')));
  });

  test('starts in the empty folder of a registry that has stored nothing yet, again and again', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    for (let i = 0; i < 2; i++) await (await open(t, dir)).stop();
  });

  test('refuses to be another user than the registry', { skip: isRoot ? false : 'needs root' }, async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    await chmod(dir, 0o755);
    await chown(path.join(dir, 'storage'), 1234, 1234);
    const asRoot = await cleanCommand(['clean', 'serve'], dir);
    assert.match(asRoot.stderr, /^This runs as root, and [^\n]* run it as the registry's user \(id 1234\)/);
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', '--'];
    const asNobody = await run(
      'setpriv',
      [...nobody, process.execPath, mainPath, 'clean', 'serve', '--set', 'clean.socket=/tmp/none/clean.sock'],
      { cwd: dir },
    );
    assert.match(
      asNobody.stderr,
      /^The user of this process \(id 65534\) may not write to [^\n]*\(id 1234\)[^\n]*\n$/,
    );
    assert.deepEqual([asRoot.code, asNobody.code], [1, 1]);
  });

  test('says in one line what it looks after, and ends in order', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, { schedule: '30 3 * * *' });
    const cleaner = await open(t, dir);
    const [first, ...others] = cleaner.log;
    assert.deepEqual(others, []);
    assert.equal(first?.['looksAfter'], path.join(dir, 'storage'));
    assert.equal(first['socket'], path.join(dir, 'var/clean/clean.sock'));
    assert.match(String(first['nextRun']), /^20\d\d-/);
    assert.equal((await stat(path.join(dir, 'var/clean/clean.sock'))).mode & 0o777, 0o660);

    const second = await cleanCommand(['clean', 'serve'], dir);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /^Another cleaner listens on /);

    cleaner.process.kill('SIGTERM');
    assert.deepEqual(await once(cleaner.process, 'close'), [0, null]);
    assert.equal(cleaner.log.at(-1)?.msg, 'stopped');
    await assert.rejects(stat(path.join(dir, 'var/clean/clean.sock')));
  });

  test('takes over from one that was killed', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    const killed = await open(t, dir);
    killed.process.kill('SIGKILL');
    await once(killed.process, 'exit');
    await stat(path.join(dir, 'var/clean/clean.sock'));
    await open(t, dir);
    assert.equal((await cleanCommand(['clean', 'status'], dir)).code, 0);
  });

  test('SIGHUP puts schedule and rules in effect; a wrong configuration changes nothing', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    const cleaner = await open(t, dir);
    const status = async () => {
      const { code, stdout, stderr } = await cleanCommand(['clean', 'status', '--json'], dir);
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout) as { schedule: string | null; nextRun: string | null };
    };
    assert.equal((await status()).schedule, null);
    await configure(dir, { schedule: '@daily' });
    cleaner.process.kill('SIGHUP');
    await cleaner.logged(({ msg }) => msg === 'cleaner reloaded');
    const { schedule, nextRun } = await status();
    assert.equal(schedule, '@daily');
    assert.ok(nextRun !== null && Date.parse(nextRun) > Date.now());
    await writeFile(path.join(dir, 'config/tidegate.yml'), 'clean: { schedule: sometimes }');
    cleaner.process.kill('SIGHUP');
    const refused = await cleaner.logged(({ msg }) => msg.startsWith('reload refused'));
    assert.match(String(refused['reason']), /clean\.schedule: "sometimes" is no cron expression/);
    await configure(dir, { schedule: '@daily', socket: 'var/other.sock' });
    cleaner.process.kill('SIGHUP');
    const unchanged = await cleaner.logged(({ msg }) => msg.startsWith('unchanged until the next start'));
    assert.deepEqual(unchanged['keys'], ['clean.socket']);
  });
});

describe('the commands of the clean-up', { timeout: 360_000, concurrency: 4 }, () => {
  test('without a cleaner they say how to start it', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    for (const args of [
      ['clean', 'run', '--yes'],
      ['clean', 'undo'],
      ['clean', 'status'],
      ['clean', 'purge', '--yes'],
      ['tag', 'remove', 'team/app:1'],
    ]) {
      const { code, stdout, stderr } = await cleanCommand(args, dir);
      assert.deepEqual([code, stdout], [1, ''], args.join(' '));
      assert.match(stderr, /^No cleaner listens on \S+clean\.sock \(clean\.socket\): start it as /);
    }
  });

  test('reach a running cleaner also where upstream.storage is not in the file', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {}, null);
    const cleaner = await startCleaner(['--set', `upstream.storage=${path.join(dir, 'storage')}`], dir);
    t.after(() => cleaner.stop());
    const { code, stdout, stderr } = await cleanCommand(['clean', 'status'], dir);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Looks after \S+storage, since /);
  });

  test('without a front door nothing can be taken, and they say why', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    const cleaner = await open(t, dir);
    for (const args of [
      ['clean', 'run', '--yes'],
      ['tag', 'remove', 'team/app:1'],
    ]) {
      const { code, stderr } = await cleanCommand(args, dir);
      assert.equal(code, 1);
      assert.match(stderr, /No front door is connected: start Tidegate on this machine/);
    }
    const { stdout } = await cleanCommand(['clean', 'status'], dir);
    assert.match(stdout, /^Last run: refused, .*No front door is connected/m);
    assert.match(stdout, /^No run can begin: No front door is connected/m);
    assert.deepEqual(
      cleaner.log.filter(({ msg }) => msg === 'unforeseen error'),
      [],
    );
  });

  test('what cannot be undone or purged is said', async (t) => {
    const dir = await makeFolder(t);
    await configure(dir, {});
    await open(t, dir);
    const undone = await cleanCommand(['clean', 'undo'], dir);
    assert.match(undone.stderr, /^There is no run to undo/);
    const named = await cleanCommand(['clean', 'undo', '20260101-000000-abcd'], dir);
    assert.match(named.stderr, /^The run 20260101-000000-abcd is not in quarantine/);
    assert.deepEqual([undone.code, named.code], [1, 1]);
    const purged = await cleanCommand(['clean', 'purge', '--yes'], dir);
    assert.deepEqual([purged.code, purged.stdout], [0, 'There is nothing to purge.\n']);
  });

  for (const [args, sentence] of [
    [['clean', 'run'], /no terminal to ask on: add --yes/],
    [['clean', 'purge'], /no terminal to ask on: add --yes/],
    [['clean', 'undo', '../x'], /not the name of a run/],
    [['tag', 'remove', 'team/app'], /Write REPOSITORY:TAG/],
    [['tag', 'remove', 'Team/App:1'], /is not the name of a repository/],
    [['tag', 'remove', 'team/app:1:2'], /Write REPOSITORY:TAG/],
  ] as const)
    test(`wrong usage: ${args.join(' ')}`, async (t) => {
      const dir = await makeFolder(t);
      await configure(dir, {});
      const { code, stderr } = await cleanCommand(args, dir);
      assert.equal(code, 2);
      assert.match(stderr, sentence);
    });
});
