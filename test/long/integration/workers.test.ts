import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { copyCertificate } from '../../support/certificate-files.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { tidegate } from '../../support/processes.ts';
import { anonymous, authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { startV1Registry } from '../../support/v1-registry.ts';
import { connectToWorker, isAlive, untilGone, workerPids } from '../../support/workers.ts';

const replaced = 'a worker process has ended: another takes its place';
const listening = 'a worker process is listening';
/** A download that upstream has begun and not ended, through one worker. */
const beginDownload = async (frontDoor: FrontDoor, upstream: ScriptedUpstream, pid: number) => {
  const client = await connectToWorker(frontDoor, pid);
  client.send(authorized('GET /v2/app/blobs/x'));
  const request = await upstream.next();
  request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
  await client.responseHead();
  assert.equal((await client.reader.take(3)).toString(), 'abc');
  return { client, request };
};

describe('several workers', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=3'] });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('one line says that all listen, and each of them answers', async () => {
    const pids = await workerPids(frontDoor);
    assert.equal(pids.length, 3);
    assert.deepEqual(
      frontDoor.log.map(({ msg, ...line }) => [msg, line['pid'], line['workers']]),
      [['listening', frontDoor.pid, 3]],
    );
    for (const pid of pids) (await connectToWorker(frontDoor, pid)).leave();
  });

  test('one that is killed costs its own connections only, and another takes its place', async () => {
    const [first = 0, second = 0] = await workerPids(frontDoor);
    const staying = await beginDownload(frontDoor, upstream, first);
    const lost = await beginDownload(frontDoor, upstream, second);
    process.kill(second, 'SIGKILL');
    assert.equal((await lost.client.rest()).length, 0);
    await lost.request.closed;
    const line = await frontDoor.logged(({ msg }) => msg === replaced);
    assert.deepEqual(
      [line['workerPid'], line['signal'], line['code'], line['retryMs']],
      [second, 'SIGKILL', null, 0],
    );
    const { workerPid } = await frontDoor.logged(({ msg }) => msg === listening);
    (await connectToWorker(frontDoor, workerPid as number)).leave();
    staying.request.answer('def');
    assert.equal((await staying.client.reader.take(3)).toString(), 'def');
    staying.client.leave();
  });

  test('one that ends again and again is started later each time', async () => {
    const other = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2'] });
    let [, pid = 0] = await workerPids(other);
    for (const retryMs of [0, 1000, 2000]) {
      process.kill(pid, 'SIGKILL');
      const ended = await other.logged(({ msg, workerPid }) => msg === replaced && workerPid === pid);
      assert.equal(ended['retryMs'], retryMs);
      if (retryMs === 2000) break;
      const before = pid;
      const started = await other.logged(
        ({ msg, workerPid }) => msg === listening && Number(workerPid) > before,
      );
      pid = started['workerPid'] as number;
    }
    assert.equal((await exchange(other, anonymous('GET /v2/x'))).status, 401, 'the other one serves on');
    await other.stop();
  });

  test('one that hangs is replaced, with no cache and without a request', async () => {
    const other = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'cache.driver=off'],
    });
    const [, pid = 0] = await workerPids(other);
    process.kill(pid, 'SIGSTOP');
    await other.logged(
      ({ msg, workerPid }) => msg === 'a worker process does not answer: it is killed' && workerPid === pid,
    );
    const { workerPid } = await other.logged(({ msg }) => msg === listening);
    (await connectToWorker(other, workerPid as number)).leave();
    await other.stop();
  });

  test('a part of the cache that is less than one entry may be: the log says so', async () => {
    const other = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'cache.maxBytes=1MiB', 'cache.maxEntryBytes=1MiB'],
    });
    await other.logged(({ msg }) => /cache\.maxBytes.*cache\.maxEntryBytes/.test(msg));
    await other.stop();
  });

  test('one that cannot start says why, and the others serve on', async () => {
    const other = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2'] });
    const [first = 0, second = 0] = await workerPids(other);
    await rm(other.htpasswdPath);
    process.kill(second, 'SIGKILL');
    const line = await other.logged(({ msg, workerPid }) => msg === replaced && workerPid !== second);
    assert.match(String(line['reason']), /htpasswd/);
    assert.deepEqual([line['code'], line['retryMs']], [1, 1000]);
    (await connectToWorker(other, first)).leave();
    await other.stop();
  });

  test('one that takes another place starts with the certificate in effect, whatever lies on the disk by then', async () => {
    const other = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2'] });
    const [, second = 0] = await workerPids(other);
    await writeFile(path.join(other.dir, 'certs/server.key'), 'no key');
    process.kill(second, 'SIGKILL');
    const { workerPid } = await other.logged(({ msg }) => msg === listening);
    (await connectToWorker(other, workerPid as number)).leave();
    await other.stop();
  });

  test('a token that upstream gave out through one is known to the others', async () => {
    const registry = await startV1Registry();
    const other = await startFrontDoor({ upstreamUrl: registry.url, set: ['workers=2'] });
    const [first = 0, second = 0] = await workerPids(other);
    const one = await connectToWorker(other, first);
    const two = await connectToWorker(other, second);
    one.send(
      authorized('PUT /v1/repositories/library/app/', 'X-Docker-Token: true', 'Content-Length: 2') + '{}',
    );
    const [token = ''] = values(await one.response(), 'x-docker-token');
    two.send(anonymous('GET /v1/images/0a/json', `Authorization: Token ${token}`));
    assert.equal((await two.response()).status, 404);
    two.send(anonymous('GET /v1/images/0a/json', `Authorization: Token ${token}x`));
    assert.equal((await two.response()).status, 401);
    for (const client of [one, two]) client.leave();
    await other.stop();
    await registry.close();
  });

  test('passwords are checked on threads of low priority', async () => {
    const wrong = `Basic ${Buffer.from('alice:wrong').toString('base64')}`;
    const [pid = 0] = await workerPids(frontDoor);
    const client = await connectToWorker(frontDoor, pid);
    client.send(anonymous('GET /v2/x', `Authorization: ${wrong}`));
    assert.equal((await client.response()).status, 401);
    client.leave();
    const tasks = await readdir(`/proc/${pid}/task`);
    const nices = await Promise.all(
      tasks.map(async (task) => {
        const stat = await readFile(`/proc/${pid}/task/${task}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]); // proc(5): the 19th field
      }),
    );
    assert.deepEqual(
      nices.filter((nice) => nice !== 0),
      [10],
    );
  });
});

describe('the end of several workers', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream();
  });
  after(() => upstream.close());
  const start = () => startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2'] });

  for (const [name, toAll] of [
    ['SIGTERM to the first process', false],
    ['SIGTERM to all of them, as a service manager sends it', true],
  ] as const) {
    test(`${name}: transfers under way end in good order, exit code 0`, async () => {
      const frontDoor = await start();
      const pids = await workerPids(frontDoor);
      const downloads: Awaited<ReturnType<typeof beginDownload>>[] = [];
      for (const pid of pids) downloads.push(await beginDownload(frontDoor, upstream, pid));
      for (const pid of toAll ? [...pids, frontDoor.pid, ...pids] : [frontDoor.pid])
        process.kill(pid, 'SIGTERM');
      for (const pid of pids)
        await frontDoor.logged((line) => line.msg === 'shutting down' && line['pid'] === pid);
      await assert.rejects(connectClient(frontDoor));
      for (const { client, request } of downloads) {
        request.answer('def');
        assert.equal((await client.reader.take(3)).toString(), 'def');
      }
      assert.equal(await frontDoor.ended, 0);
      assert.deepEqual(pids.map(isAlive), [false, false]);
      assert.equal(frontDoor.log.at(-1)?.msg, 'stopped');
      await frontDoor.stop();
    });
  }

  for (const [name, signals, code] of [
    ['SIGINT cuts at once', ['SIGINT'], 0],
    ['a second signal does not wait', ['SIGTERM', 'SIGTERM'], 1],
  ] as const) {
    test(`${name}, exit code ${code}`, async () => {
      const frontDoor = await start();
      const pids = await workerPids(frontDoor);
      const { client } = await beginDownload(frontDoor, upstream, pids[0] ?? 0);
      for (const signal of signals) {
        frontDoor.process.kill(signal);
        await frontDoor.logged(({ msg }) => msg === 'shutting down');
      }
      assert.equal(await frontDoor.ended, code);
      assert.equal((await client.rest()).length, 0);
      for (const pid of pids) await untilGone(pid);
      await frontDoor.stop();
    });
  }

  test('when the first process is killed the others end too, and leave the port', async () => {
    const frontDoor = await start();
    const pids = await workerPids(frontDoor);
    const { client } = await beginDownload(frontDoor, upstream, pids[0] ?? 0);
    frontDoor.process.kill('SIGKILL');
    assert.equal((await client.rest()).length, 0);
    for (const pid of pids) await untilGone(pid);
    const next = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', `listen.port=${frontDoor.port}`],
    });
    assert.equal((await exchange(next, anonymous('GET /v2/x'))).status, 401);
    await next.stop();
    await frontDoor.stop();
  });

  test('one that hangs does not hold up the end for ever', async () => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'shutdown.timeout=0'],
    });
    const [pid = 0] = await workerPids(frontDoor);
    process.kill(pid, 'SIGSTOP');
    frontDoor.process.kill('SIGTERM');
    assert.equal(await frontDoor.ended, 0);
    assert.equal(isAlive(pid), false);
    await frontDoor.stop();
  });
});

describe('a start of several workers that must fail', { timeout: 360_000 }, () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(path.join(dir, 'certs'), ['localhost']);
    await writeFile(path.join(dir, 'htpasswd'), 'alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n');
  });
  after(() => rm(dir, { recursive: true, force: true }));
  const serve = (...settings: string[]) =>
    tidegate(
      [
        'serve',
        ...['workers=3', 'listen.host=127.0.0.1', 'auth.htpasswd=htpasswd', ...settings].flatMap(
          (setting) => ['--set', setting],
        ),
      ],
      { cwd: dir, timeoutMs: 90_000 },
    );

  test('a port that is taken: one sentence, exit code 1', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await serve(`listen.port=${port}`);
    server.close();
    assert.equal(
      stderr,
      `Cannot listen on 127.0.0.1:${port}: another program listens there already; stop it, or choose another listen.port.\n`,
    );
    assert.equal(code, 1);
  });

  test('no certificate: one sentence, exit code 1', async () => {
    const { code, stderr } = await serve('listen.port=0', 'tls.cert=missing.crt');
    assert.equal(code, 1);
    assert.match(stderr, /^[^\n]*missing\.crt[^\n]*\n$/);
  });
});

test(
  'lines of several workers in one pipe are whole, however slowly it is read',
  { timeout: 360_000 },
  async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['workers=2'] });
    const { stdout } = frontDoor.process;
    let count = 0;
    // startFrontDoor reads each line as JSON too, and would throw.
    if (stdout)
      createInterface({ input: stdout }).on('line', (line) => (count += line.includes('/v2/xxx') ? 1 : 0));
    const clients = await Promise.all(Array.from({ length: 16 }, () => connectClient(frontDoor)));
    const lines = ['x', 'é"\\', 'xyz'].map((agent) => `User-Agent: ${agent.repeat(512)}`);
    const requests = lines.map((line) => anonymous(`GET /v2/${'x'.repeat(600)}`, line)).join('');
    const rounds = 60;
    for (let round = 0; round < rounds; round += 1) {
      stdout?.pause(); // its 64 KiB are full at once
      await Promise.all(
        clients.map(async (client) => {
          client.send(Buffer.from(requests));
          for (const line of lines) assert.equal((await client.response()).status, 401, line);
        }),
      );
      stdout?.resume();
    }
    for (const client of clients) client.leave();
    await until('all lines have come', () => count === rounds * clients.length * lines.length);
    await frontDoor.stop();
    await upstream.close();
  },
);
