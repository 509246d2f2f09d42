import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { run } from '../../support/processes.ts';
import { copyCheckout, curl, launch, processesOf, skip, start, statusOf } from '../../support/quickstart.ts';

describe('npm start', { skip }, () => {
  let checkout = '';
  before(async () => (checkout = await copyCheckout()));
  after(() => rmSync(checkout, { recursive: true, force: true }));

  it('makes certificate, user and registry, keeps them, and leaves nothing behind', async () => {
    const port = await freePort();
    const first = start(checkout, ['--port', String(port)]);
    const login = await first.ready;
    assert.match(first.output(), /^user: admin$/m);
    const [, password = ''] = /^password: (\S{20,})$/m.exec(first.output()) ?? [];
    assert.match(login, new RegExp(`^docker login [^ ]+:${port} -u admin$`));
    const [, after = ''] = first.output().split(login);
    assert.equal(after.trim(), '', 'the docker login command is the last line');
    assert.match(first.output(), /ca\.crt \/etc\/docker\/certs\.d\//);
    assert.equal(await statusOf(checkout, port, 'localhost', '/v2/'), 200);
    assert.equal(await statusOf(checkout, port, 'localhost', '/v2/_catalog'), 401);
    assert.equal(await statusOf(checkout, port, 'localhost', '/v2/_catalog', 'admin:wrong'), 401);
    for (const host of ['localhost', '127.0.0.1']) {
      assert.equal(await statusOf(checkout, port, host, '/v2/_catalog', `admin:${password}`), 200);
    }
    assert.equal(await upload(checkout, port, `admin:${password}`), 201);
    const certificate = readFileSync(path.join(checkout, 'certs/server.crt'), 'utf8');
    const users = readFileSync(path.join(checkout, 'config/htpasswd'), 'utf8');

    const rival = start(checkout, ['--port', String(await freePort())]);
    assert.equal(await rival.exitCode, 1);
    assert.match(rival.output(), /Another npm start \(process \d+\) is running in this checkout/);
    assert.equal(await first.interrupt(), 0);
    assert.deepEqual(processesOf(checkout), []);

    const second = start(checkout, ['--port', String(port)]);
    await second.ready;
    assert.doesNotMatch(second.output(), /^password: /m);
    assert.match(second.output(), /Build … up to date/);
    assert.equal(readFileSync(path.join(checkout, 'certs/server.crt'), 'utf8'), certificate);
    assert.equal(readFileSync(path.join(checkout, 'config/htpasswd'), 'utf8'), users);
    assert.equal(await statusOf(checkout, port, 'localhost', blobPath, `admin:${password}`), 200);
    await eventually(async () => Promise.resolve(second.output().includes('"source":"storage"')));
    // The password is in nothing that was written.
    assert.equal((await run('grep', ['-rF', password, 'var', 'config', 'certs'], { cwd: checkout })).code, 1);

    assert.equal(await second.interrupt(), 0);
    assert.deepEqual(processesOf(checkout), []);
    assert.ok(!existsSync(path.join(checkout, 'var/npm-start.lock')));
    assert.equal((await run('git', ['status', '--porcelain'], { cwd: checkout })).stdout, '');
  });

  it('renews the certificate under the same CA when asked for another name', async () => {
    const port = await freePort();
    const ca = readFileSync(path.join(checkout, 'certs/ca.crt'), 'utf8');
    const started = start(checkout, ['--host', 'registry.example.com,192.0.2.7', '--port', String(port)]);
    assert.equal(await started.ready, `docker login registry.example.com:${port} -u admin`);
    for (const host of ['registry.example.com', '192.0.2.7', 'localhost']) {
      assert.equal(await statusOf(checkout, port, host, '/v2/'), 200);
    }
    assert.equal(readFileSync(path.join(checkout, 'certs/ca.crt'), 'utf8'), ca);
    assert.equal(await started.interrupt(), 0);
  });

  it('starts a registry that has died again', async () => {
    const port = await freePort();
    const started = start(checkout, ['--port', String(port)]);
    await started.ready;
    const [registry] = processesOf(checkout).filter((each) => each.command.includes('registry.yml'));
    assert.ok(registry);
    process.kill(registry.pid, 'SIGKILL');
    await eventually(async () => (await statusOf(checkout, port, 'localhost', '/v2/')) === 502);
    await eventually(async () => (await statusOf(checkout, port, 'localhost', '/v2/')) === 200);
    assert.match(started.output(), /has ended \(SIGKILL\); it is started again in 1 s/);
    assert.equal(await started.interrupt(), 0);
    assert.deepEqual(processesOf(checkout), []);
  });

  it('takes its registry along when it is killed, and starts again after that', async () => {
    const started = start(checkout, ['--port', String(await freePort())]);
    await started.ready;
    for (const { pid, command } of processesOf(checkout)) {
      if (command.includes('start.mjs')) process.kill(pid, 'SIGKILL');
    }
    await eventually(async () => Promise.resolve(processesOf(checkout).length === 0));
    const next = start(checkout, ['--port', String(await freePort())]);
    await next.ready;
    assert.equal(await next.interrupt(), 0);
  });

  it('works in two checkouts side by side', async () => {
    const other = await copyCheckout();
    try {
      const port = await freePort();
      const [one, two] = [
        start(checkout, ['--port', String(port)]),
        start(other, ['--port', String(await freePort())]),
      ];
      await Promise.all([one.ready, two.ready]);
      const third = start(other, []);
      assert.equal(await third.exitCode, 1);
      assert.deepEqual(await Promise.all([one.interrupt(), two.interrupt()]), [0, 0]);
      assert.deepEqual([...processesOf(checkout), ...processesOf(other)], []);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  it('says in one sentence that the port asked for is taken, and ends what it had started', async () => {
    const server = createServer().listen(0);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const started = start(checkout, ['--port', String(port)]);
    assert.equal(await started.exitCode, 1);
    assert.match(started.output(), new RegExp(`^Port ${port} is taken by another program: .+$`, 'm'));
    assert.deepEqual(processesOf(checkout), []);
    server.close();
  });

  it('uses a registry that answers at upstream.url, and warns of rules that are hardly meant', async () => {
    const upstream = createServer((socket) => {
      socket.once('data', () => {
        const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n';
        socket.end(`${head}Content-Length: 2\r\n\r\n{}`);
      });
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
    const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
    const started = start(checkout, ['--port', String(await freePort())], {
      TIDEGATE_UPSTREAM_URL: url,
      TIDEGATE_POLICY: '[]',
    });
    await started.ready;
    assert.match(started.output(), /policy: allows nobody to push/);
    assert.match(started.output(), new RegExp(`^upstream +${url},`, 'm'));
    assert.ok(!processesOf(checkout).some(({ command }) => command.includes('registry.yml')));
    assert.equal(await started.interrupt(), 0);
    upstream.close();
  });

  it('says how to get a registry where there is none and nothing may be installed', async () => {
    const started = launch(process.execPath, ['src/quickstart/start.mjs', '--no-install'], checkout, {
      PATH: '/nonexistent',
    });
    assert.equal(await started.exitCode, 1);
    assert.match(started.output(), /There is no registry to run in front of: .* docker-registry/);
  });

  const wrong = [
    ['--bogus'],
    ['--port', '0'],
    ['--port', '65536'],
    ['--host', 'https://a.example'],
    ['--host', ''],
    ['--mirror', 'https://docker.io'],
    ['--mirror-credentials', 'file'],
  ];
  for (const args of wrong) {
    it(`exits with 2 on ${args.join(' ')}`, async () => {
      const started = start(checkout, args);
      assert.equal(await started.exitCode, 2);
    });
  }
});

const blob = 'what a layer holds';
const blobDigest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
const blobPath = `/v2/library/test/blobs/${blobDigest}`;

async function upload(checkout: string, port: number, credentials: string): Promise<number> {
  const origin = `https://localhost:${port}`;
  const begin = ['-u', credentials, '-X', 'POST', '-o', '/dev/null', '-w', '%header{location}'];
  const location = await curl(checkout, port, `${origin}/v2/library/test/blobs/uploads/`, begin);
  const separator = location.includes('?') ? '&' : '?';
  const target = new URL(`${location}${separator}digest=${blobDigest}`, origin).href;
  const put = ['-u', credentials, '-o', '/dev/null', '-w', '%{http_code}'];
  const body = ['-X', 'PUT', '--data-binary', blob, '-H', 'Content-Type: application/octet-stream'];
  return Number(await curl(checkout, port, target, [...put, ...body]));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits for what another process brings about. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (!(await holds())) {
    assert.ok(Date.now() < deadlineMs, 'it has not come about within 20 s');
    await setTimeout(50);
  }
}
