import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { openAdminListener, type ReloadOutcome } from '../../src/admin/admin.ts';
import { createAdmin, findAdmin, watched, type Admin } from '../support/admin.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, exchange } from '../support/raw-client.ts';
import { startRedis, until } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { wholeLog } from '../support/whole-log.ts';

type Readiness = {
  readonly ready: boolean;
  readonly checks: Record<string, { ok: boolean; detail: string }>;
  readonly details: { cache: string };
};
const readiness = async (admin: Admin): Promise<{ status: number } & Readiness> => {
  const { status, body } = await admin.ask('/readyz');
  return { status, ...(JSON.parse(body) as Readiness) };
};
const failing = ({ checks }: Readiness) =>
  Object.entries(checks).flatMap(([name, { ok }]) => (ok ? [] : [name]));

for (const workers of [1, 2]) {
  describe(`the admin listener, workers: ${workers}`, { timeout: 360_000 }, () => {
    let upstream: ScriptedUpstream;
    let frontDoor: FrontDoor;
    let admin: Admin;
    /** Of a connection that says nothing from the beginning on: it is given five seconds. */
    let silentEnd: Promise<unknown>;
    before(async () => {
      upstream = await startUpstream({ script: answerOk });
      frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [...watched, `workers=${workers}`, 'admin.names=tidegate.internal'],
      });
      admin = await findAdmin(frontDoor);
      const silent = connect(admin.port, '127.0.0.1');
      silent.on('data', () => {});
      silent.on('error', () => {});
      silentEnd = once(silent, 'close');
    });
    after(async () => {
      await frontDoor.stop();
      await upstream.close();
    });

    test('/livez and /readyz answer 200, to GET and HEAD', async () => {
      for (const path of ['/livez', '/readyz', '/readyz?verbose']) {
        const answer = await admin.ask(path);
        assert.equal(answer.status, 200, answer.body);
        assert.equal(answer.headers['cache-control'], 'no-store');
        const bodiless = await admin.ask(path, { method: 'HEAD' });
        assert.deepEqual([bodiless.status, bodiless.body], [200, '']);
      }
      const { ready, checks, details } = await readiness(admin);
      assert.equal(ready, true);
      assert.deepEqual(Object.keys(checks), ['upstream', 'certificate', 'workers', 'draining']);
      assert.match(checks['workers']?.detail ?? '', new RegExp(`^${workers} of ${workers} `));
      assert.equal(details.cache, 'used');
    });

    for (const host of [
      'localhost',
      'localhost:9090',
      'LOCALHOST:1',
      '127.0.0.1',
      '127.0.0.1:80',
      'tidegate.internal:9090',
    ]) {
      test(`a request for ${host} is answered`, async () => {
        assert.equal((await admin.ask('/livez', { headers: { Host: host } })).status, 200);
      });
    }
    for (const headers of [
      { Host: 'attacker.example' },
      { Host: 'attacker.example:9090' },
      { Host: 'localhost.attacker.example' },
      { Host: '127.0.0.2' },
      { Host: '[::1]' },
      { Host: '127.0.0.1@attacker.example' },
      { Host: 'localhost', Origin: 'https://attacker.example' },
      { Host: 'localhost', Origin: 'null' },
      { Host: 'localhost', Origin: 'http://localhost:9090' },
      { Host: 'localhost', 'Sec-Fetch-Site': 'cross-site' },
      { Host: 'localhost', 'Sec-Fetch-Site': 'same-site' },
    ]) {
      test(`a web page gets nothing: ${JSON.stringify(headers)}`, async () => {
        for (const path of ['/livez', '/readyz', '/metrics', '/reload', '/nowhere']) {
          const { status, body } = await admin.ask(path, { headers });
          assert.equal(status, 403);
          assert.deepEqual(Object.keys(JSON.parse(body) as object), ['error']);
        }
      });
    }
    test('two Hosts, or none, get nothing', async () => {
      for (const hosts of [['Host: localhost', 'Host: attacker.example'], ['Host:'], []]) {
        const socket = connect(admin.port, '127.0.0.1');
        socket.write(head('GET /livez HTTP/1.1', ...hosts));
        const [data] = (await once(socket, 'data')) as [Buffer];
        assert.match(data.toString(), /^HTTP\/1\.1 40[03] /);
        socket.destroy();
      }
    });

    test('what is not there is 404, another method 405', async () => {
      for (const path of ['/', '/v2/', '/metrics/', '//livez', 'http://localhost/livez'])
        assert.equal((await admin.ask(path)).status, 404, path);
      for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
        const { status, headers } = await admin.ask('/metrics', { method });
        assert.deepEqual([status, headers['allow']], [405, 'GET, HEAD']);
      }
    });

    test('POST /reload reloads, tells what came of it, and is counted', async () => {
      const before = await admin.metrics();
      const { status, body } = await admin.ask('/reload', { method: 'POST' });
      assert.deepEqual([status, JSON.parse(body)], [200, { ok: true, changed: [], needRestart: [] }]);
      const key = 'tidegate_reloads_total{result="done"}';
      assert.equal((await admin.metrics()).get(key), (before.get(key) ?? 0) + 1);
      assert.equal((await admin.ask('/readyz')).status, 200);
    });

    test('a head that is too large is refused', async () => {
      const large = await admin.ask('/livez', { headers: { 'X-Large': 'x'.repeat(9000) } });
      assert.equal(large.status, 431);
    });

    test('the public port knows nothing of it', async () => {
      for (const path of ['/livez', '/readyz', '/metrics', '/reload']) {
        assert.equal((await exchange(frontDoor, anonymous(`GET ${path}`))).status, 401);
        assert.equal((await exchange(frontDoor, authorized(`GET ${path}`))).status, 404);
      }
    });

    test('while transfers end it still answers, and /readyz is 503', async () => {
      const slow = await startUpstream({
        script: (request) => {
          if (request.startLine.includes('/v2/ ')) return answerOk(request);
          request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
          return slowly.push(request);
        },
      });
      const slowly: { answer(text: string): void }[] = [];
      const other = await startFrontDoor({
        upstreamUrl: slow.url,
        set: [...watched, `workers=${workers}`],
      });
      const its = await findAdmin(other);
      const client = await connectClient(other);
      client.send(authorized('GET /v2/app/blobs/x'));
      await client.responseHead();
      assert.equal((await readiness(its)).status, 200);
      other.process.kill('SIGTERM');
      await other.logged(({ msg }) => msg === 'shutting down');
      const state = await readiness(its);
      assert.equal(state.status, 503);
      assert.ok(failing(state).includes('draining'));
      assert.equal((await its.ask('/livez')).status, 200);
      assert.equal((await its.metrics()).get('tidegate_draining'), 1);
      slowly[0]?.answer('def');
      assert.equal((await client.reader.take(6)).toString(), 'abcdef');
      assert.equal(await other.ended, 0);
      await other.stop();
      await slow.close();
    });

    test('a connection that says nothing is not waited for', async () => {
      await silentEnd;
      assert.equal((await admin.ask('/livez')).status, 200);
    });
  });
}

describe('readiness follows the registry', { timeout: 240_000 }, () => {
  test('503 while it is away, with the reason, and 200 when it is back', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const { port } = upstream;
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: watched });
    const admin = await findAdmin(frontDoor);
    assert.equal((await readiness(admin)).status, 200);
    await upstream.close();
    await until('it is not ready', async () => (await readiness(admin)).status === 503);
    const state = await readiness(admin);
    assert.deepEqual(failing(state), ['upstream']);
    assert.match(state.checks['upstream']?.detail ?? '', /ECONNREFUSED/);
    assert.equal((await admin.metrics()).get('tidegate_upstream_up'), 0);
    assert.equal((await admin.ask('/livez')).status, 200);
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(head('HTTP/1.1 401 Unauthorized', 'Content-Length: 0', 'Connection: close'));
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    await until('it is ready', async () => (await readiness(admin)).status === 200);
    assert.equal((await admin.metrics()).get('tidegate_upstream_up'), 1);
    server.close();
    await frontDoor.stop();
  });

  for (const [name, answer] of [
    ['an error of its own', head('HTTP/1.1 503 Service Unavailable', 'Content-Length: 0')],
    ['what is not HTTP', 'SSH-2.0-x\r\n'],
  ] as const) {
    test(`503 when it answers ${name}`, async () => {
      const upstream = await startUpstream({ script: (request) => request.answer(answer) });
      const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: watched });
      const state = await readiness(await findAdmin(frontDoor));
      assert.deepEqual([state.status, failing(state)], [503, ['upstream']]);
      await frontDoor.stop();
      await upstream.close();
    });
  }

  test(
    'Redis is a detail: ready with it, without it, and with it again',
    { skip: unlessInstalled('redis-server') },
    async () => {
      const redis = await startRedis();
      const upstream = await startUpstream({ script: answerOk });
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: [...watched, 'cache.driver=redis', `cache.redis.url=redis://${redis.address}/0`],
      });
      const admin = await findAdmin(frontDoor);
      const isIn = (use: string) => async () => {
        const { status, details } = await readiness(admin);
        assert.equal(status, 200);
        return details.cache === use;
      };
      await until('it is used', isIn('used'));
      await redis.kill();
      await until('it is passed by', isIn('passed-by'));
      assert.equal((await admin.metrics()).get('tidegate_cache_usable'), 0);
      await redis.start();
      await until('it is used again', isIn('used'));
      assert.equal((await admin.metrics()).get('tidegate_cache_usable'), 1);
      await frontDoor.stop();
      await upstream.close();
      await redis.stop();
    },
  );

  test('it is asked once in a while, however often /readyz is', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['admin.port=0', 'upstream.probeInterval=1h'],
    });
    const admin = await findAdmin(frontDoor);
    await Promise.all(Array.from({ length: 40 }, () => readiness(admin)));
    assert.deepEqual(
      upstream.requests.map(({ startLine }) => startLine),
      ['GET /v2/ HTTP/1.1'],
    );
    await frontDoor.stop();
    await upstream.close();
  });

  test("upstream's own credentials go with the question", async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [...watched, 'upstream.username=door', 'upstream.password=key'],
    });
    await readiness(await findAdmin(frontDoor));
    const [request] = upstream.requests;
    assert.deepEqual(
      request?.headers.filter(([name]) => name.toLowerCase() === 'authorization').map(([, value]) => value),
      [`Basic ${Buffer.from('door:key').toString('base64')}`],
    );
    await frontDoor.stop();
    await upstream.close();
  });
});

describe('an admin listener that cannot be', { timeout: 240_000 }, () => {
  test('a port that is taken: one warning, and the front door serves', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: [`admin.port=${port}`] });
    const warnings = frontDoor.log.filter(({ msg }) => msg.includes('admin listener'));
    assert.equal(warnings.length, 1);
    assert.deepEqual(
      [warnings[0]?.['level'], warnings[0]?.['port'], warnings[0]?.['reason']],
      [40, port, 'another program listens there already'],
    );
    assert.equal((await exchange(frontDoor, authorized('GET /v2/'))).status, 200);
    taken.close();
    await frontDoor.stop();
    await upstream.close();
  });

  test('null: there is none, and nobody asks the registry', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['admin.port=', 'upstream.probeInterval=100ms'],
    });
    assert.equal((await exchange(frontDoor, authorized('GET /v2/'))).status, 200);
    assert.equal(upstream.requests.length, 1);
    assert.ok(!(await wholeLog(frontDoor)).some(({ msg }) => msg.includes('admin')));
    await frontDoor.stop();
    await upstream.close();
  });
});

describe('POST /reload', { timeout: 240_000 }, () => {
  const open = (reload: () => Promise<ReloadOutcome>) =>
    openAdminListener({
      host: '127.0.0.1',
      port: 0,
      names: [],
      readiness: () => assert.fail(),
      metrics: () => assert.fail(),
      reload,
      logger: { info: () => {}, warn: () => {}, error: () => {} },
    });
  for (const [status, outcome] of [
    [200, { ok: true, changed: ['auth.realm'], needRestart: ['workers'] }],
    [422, { ok: false, sentence: 'tls.cert does not exist.' }],
  ] as const) {
    test(`${status} with what came of it`, async () => {
      let calls = 0;
      const listener = await open(() => {
        calls += 1;
        return Promise.resolve(outcome);
      });
      assert.ok(listener);
      const admin = createAdmin(listener.address.port);
      const answer = await admin.ask('/reload', { method: 'POST' });
      assert.deepEqual([answer.status, JSON.parse(answer.body)], [status, outcome]);
      assert.equal((await admin.ask('/reload')).status, 405, 'reading changes nothing');
      const page = { Origin: 'https://attacker.example' };
      assert.equal((await admin.ask('/reload', { method: 'POST', headers: page })).status, 403);
      assert.equal(calls, 1);
      listener.close();
    });
  }

  test('what fails is a 500 without details', async () => {
    const listener = await open(() => Promise.reject(new Error('a secret')));
    assert.ok(listener);
    const { status, body } = await createAdmin(listener.address.port).ask('/reload', { method: 'POST' });
    assert.equal(status, 500);
    assert.ok(!body.includes('secret'));
    listener.close();
  });
});
