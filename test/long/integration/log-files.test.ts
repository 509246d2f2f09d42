import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findInFile, readLogFile, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { mainPath, run, stop, tidegate } from '../../support/processes.ts';
import { anonymous, authorized, connectClient, exchange, type RawClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { workerPids } from '../../support/workers.ts';

const reopenedMsg = 'log files opened again';

describe('log files', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let folder: string;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    folder = await mkdtemp(path.join(tmpdir(), 'tidegate-log-files-'));
  });
  after(async () => {
    await upstream.close();
    await rm(folder, { recursive: true });
  });
  const start = (set: readonly string[], errorFile?: string): Promise<FrontDoor> =>
    startFrontDoor({ upstreamUrl: upstream.url, set, ...(errorFile === undefined ? {} : { errorFile }) });
  const messages = (lines: readonly { readonly msg: string }[]) => [...new Set(lines.map(({ msg }) => msg))];
  const ask = async (frontDoor: FrontDoor) => {
    await exchange(frontDoor, anonymous('GET /v2/x'));
    await exchange(frontDoor, 'no HTTP\r\n\r\n');
    await exchange(frontDoor, authorized('PUT /v2/app/manifests/1', 'Content-Length: 2'), '{}');
    await exchange(frontDoor, authorized('DELETE /v2/app/manifests/1'));
  };

  test('each line is in the file of its kind, and nowhere else', async () => {
    const [access, error, audit] = ['access', 'error', 'audit'].map((name) =>
      path.join(folder, `${name}.log`),
    );
    assert.ok(access && error && audit);
    const frontDoor = await start(
      [`log.accessFile=${access}`, `log.errorFile=${error}`, `log.auditFile=${audit}`],
      error,
    );
    await ask(frontDoor);
    await frontDoor.stop();
    assert.deepEqual(messages(await readLogFile(access)).sort(), ['bad request', 'request']);
    assert.deepEqual(messages(await readLogFile(audit)).sort(), ['delete', 'push']);
    assert.deepEqual(messages(await readLogFile(error)).slice(0, 2), ['listening', 'shutting down']);
    assert.deepEqual(frontDoor.log, []);
    for (const file of [access, error, audit]) assert.equal((await stat(file)).mode & 0o137, 0);
  });

  test('without a file of its own the audit goes where requests go, and the rest to standard output', async () => {
    const access = path.join(folder, 'both.log');
    const frontDoor = await start([`log.accessFile=${access}`]);
    await ask(frontDoor);
    await frontDoor.stop();
    assert.deepEqual(messages(await readLogFile(access)).sort(), [
      'bad request',
      'delete',
      'push',
      'request',
    ]);
    assert.deepEqual(messages(frontDoor.log).slice(0, 2), ['listening', 'shutting down']);
  });

  test('files named alike are one file', async () => {
    const file = path.join(folder, 'one.log');
    const frontDoor = await start([`log.accessFile=${file}`, `log.errorFile=${file}`], file);
    await ask(frontDoor);
    frontDoor.process.kill('SIGUSR1');
    assert.deepEqual((await findInFile(file, ({ msg }) => msg === reopenedMsg))['files'], [file]);
    await frontDoor.stop();
    assert.deepEqual(messages(await readLogFile(file)).slice(0, 2), ['listening', 'request']);
  });

  for (const workers of [1, 2]) {
    test(`rename and SIGUSR1 under load, workers=${workers}: each request is in exactly one of the files`, async () => {
      const dir = await mkdtemp(path.join(folder, 'rotated-'));
      const access = path.join(dir, 'access.log');
      const frontDoor = await start([`workers=${workers}`, `log.accessFile=${access}`]);
      const processes = workers === 1 ? 1 : workers + 1;
      let stderr = '';
      frontDoor.process.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      const clients: RawClient[] = [];
      for (let i = 0; i < 8; i += 1) clients.push(await connectClient(frontDoor));
      let asked = 0;
      let isOver = false;
      const load = clients.map(async (client) => {
        while (!isOver && asked < 20_000) {
          client.send(anonymous(`GET /v2/load-${++asked}`));
          assert.equal((await client.response()).status, 401);
        }
      });
      const rotations = 5;
      for (let i = 1; i <= rotations; i += 1) {
        const before = asked;
        await until('some more requests', () => asked > before + 100);
        await rename(access, `${access}.${i}`);
        frontDoor.process.kill('SIGUSR1');
        const said = () => frontDoor.log.filter(({ msg }) => msg === reopenedMsg).length;
        await until('all processes have opened it again', () => said() === i * processes);
      }
      isOver = true;
      await Promise.all(load);
      for (const client of clients) client.leave();
      await frontDoor.stop();
      const files = await readdir(dir);
      assert.equal(files.length, rotations + 1);
      const seen = (await Promise.all(files.map((file) => readLogFile(path.join(dir, file))))).map((lines) =>
        lines.map((line) => String(line['path'])),
      );
      for (const paths of seen) assert.ok(paths.length > 0);
      assert.deepEqual(
        seen.flat().sort(),
        Array.from({ length: asked }, (_, i) => `/v2/load-${i + 1}`).sort(),
      );
      assert.equal(stderr, ''); // the debugger, which the signal would start, says there that it listens
    });
  }

  test('SIGUSR1 without files, and to a worker itself, starts no debugger and ends nothing', async () => {
    const frontDoor = await start(['workers=2']);
    let stderr = '';
    frontDoor.process.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const pids = [frontDoor.pid, ...(await workerPids(frontDoor))];
    for (const pid of pids) process.kill(pid, 'SIGUSR1');
    assert.equal((await exchange(frontDoor, anonymous('GET /v2/x'))).status, 401);
    assert.deepEqual([frontDoor.pid, ...(await workerPids(frontDoor))], pids);
    await frontDoor.stop();
    assert.equal(stderr, '');
  });

  test('a file that cannot be opened again: the open one is kept, the log says so, and the next signal mends it', async () => {
    const dir = path.join(folder, 'moved');
    await mkdir(dir);
    const access = path.join(dir, 'access.log');
    const frontDoor = await start([`log.accessFile=${access}`]);
    await rename(dir, `${dir}.1`);
    frontDoor.process.kill('SIGUSR1');
    const refused = await frontDoor.logged(({ msg }) => msg.startsWith('a log file cannot be opened again'));
    assert.deepEqual([refused['level'], refused['file'], refused['reason']], [50, access, 'ENOENT']);
    assert.equal((await exchange(frontDoor, anonymous('GET /v2/kept'))).status, 401);
    await findInFile(path.join(`${dir}.1`, 'access.log'), (line) => line['path'] === '/v2/kept');
    await mkdir(dir);
    frontDoor.process.kill('SIGUSR1');
    await frontDoor.logged(({ msg }) => msg === reopenedMsg);
    await exchange(frontDoor, anonymous('GET /v2/new'));
    await frontDoor.stop();
    assert.deepEqual(
      (await readLogFile(access)).map((line) => line['path']),
      ['/v2/new'],
    );
  });

  test('a worker that takes the place of another serves, even when its log file cannot be opened', async () => {
    const dir = path.join(folder, 'gone');
    await mkdir(dir);
    const frontDoor = await start(['workers=2', `log.accessFile=${dir}/access.log`]);
    await rename(dir, `${dir}.1`);
    process.kill((await workerPids(frontDoor))[0] ?? 0, 'SIGKILL');
    const instead = await frontDoor.logged(({ msg }) => msg.startsWith('a log file cannot be opened: '));
    assert.equal(instead['reason'], 'ENOENT');
    await until('it answers', async () => {
      assert.equal((await exchange(frontDoor, anonymous('GET /v2/instead'))).status, 401);
      return frontDoor.log.some(({ pid, msg }) => msg === 'request' && pid === instead['pid']);
    });
    await frontDoor.stop();
  });

  describe('a file that cannot be opened at the start is an error of one sentence', () => {
    for (const [what, file, reason] of [
      ['its folder is missing', 'nowhere/access.log', /nowhere\/access\.log: its folder does not exist/],
      ['it is a folder', '.', /it is a folder/],
      ['it is a FIFO without a reader', 'fifo', /a FIFO that nobody reads/],
    ] as const) {
      test(what, async () => {
        const dir = await mkdtemp(path.join(folder, 'refused-'));
        if (file === 'fifo') assert.equal((await run('mkfifo', [path.join(dir, file)])).code, 0);
        const { code, stdout, stderr } = await tidegate(
          ['serve', '--set', `log.errorFile=${path.join(dir, file)}`],
          { cwd: dir, timeoutMs: 90_000 },
        );
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(stderr, /^Cannot open the log file /);
        assert.match(stderr, reason);
        assert.equal(stderr.trimEnd().split('\n').length, 1);
      });
    }
  });
});

describe('the form of the log', { timeout: 240_000 }, () => {
  let other: FrontDoor;
  before(async () => {
    other = await startFrontDoor({ upstreamUrl: 'http://127.0.0.1:9' });
  });
  after(() => other.stop());
  const settings = (...set: string[]) =>
    [
      ...['listen.host=127.0.0.1', 'listen.port=0', 'workers=2', `auth.htpasswd=${other.htpasswdPath}`],
      ...[`tls.cert=${other.dir}/certs/server.crt`, `tls.key=${other.dir}/certs/server.key`, ...set],
    ].flatMap((setting) => ['--set', setting]);

  test('files hold JSON lines, also where lines on standard output are for people', async () => {
    const file = path.join(other.dir, 'pretty.log');
    const child = spawn(process.execPath, [
      mainPath,
      'serve',
      ...settings('log.format=pretty', `log.errorFile=${file}`),
    ]);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      const { port } = await findInFile(file, ({ msg }) => msg === 'listening');
      await exchange({ port: port as number, ca: other.ca }, anonymous('GET /v2/x'));
      await until('it has said so', () => said.endsWith('\n'));
    } finally {
      await stop(child, 'SIGINT');
    }
    assert.match(
      said,
      /INFO: request \{"requestId":"[0-9a-f]{32}","user":null,"method":"GET","path":"\/v2\/x"/,
    );
  });

  describe('on a terminal', { skip: unlessInstalled('script') }, () => {
    /** What `serve` says first on a terminal, which util-linux's script gives it. */
    const firstLine = async (...set: string[]): Promise<string> => {
      const words = [process.execPath, mainPath, 'serve', ...settings(...set)];
      const child = spawn(
        'script',
        ['-q', '-e', '-c', words.map((word) => `'${word}'`).join(' '), '/dev/null'],
        {
          stdio: ['pipe', 'pipe', 'inherit'],
          env: { ...process.env, SHELL: '/bin/sh' },
        },
      );
      let shown = '';
      child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()));
      const closed = once(child, 'close');
      await until('it listens', () => /listening[^\n]*\n/.test(shown)).finally(() =>
        child.stdin.write('\x03'),
      );
      await closed;
      return shown.split('\r\n').find((line) => line.includes('listening')) ?? '';
    };
    test('it is for people', async () => {
      const line = await firstLine();
      assert.match(line, /INFO.*listening/);
      assert.throws(() => void JSON.parse(line));
    });
    test('unless the operator chose one', async () => {
      assert.equal((JSON.parse(await firstLine('log.format=json')) as { msg: string }).msg, 'listening');
    });
  });
});
