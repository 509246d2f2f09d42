import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { chunked, head } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, exchange } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** Secrets that go through Tidegate in these tests; none may be in its output, in any form. */
const secrets = {
  wrongPassword: 'Wr0ng-S3same',
  upstreamPassword: 'Upstr3am-S3cret',
  bearer: 'bearer-t0ken-value',
  v1Token: 'v1-t0ken-value',
  cookie: 'c00kie-value',
  setCookie: 's3t-cookie-value',
  query: 'qu3ry-state-value',
  absolute: 'abs0lute-password',
  header: 'h3ader-value',
  body: 'b0dy-value',
};
const wrong = `Basic ${Buffer.from(`${user}:${secrets.wrongPassword}`).toString('base64')}`;

describe('the log', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let arrived: (startLine: string) => void = () => {};
  let frontDoor: FrontDoor;
  let output = '';
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        arrived(request.startLine);
        await request.body();
        if (request.startLine.includes('/broken')) request.socket.destroy();
        else if (request.startLine.includes('/garbage')) request.answer(`${secrets.header}\r\n\r\n`);
        else
          request.answer(
            head(
              'HTTP/1.1 200 OK',
              'Content-Length: 5',
              `Set-Cookie: a=${secrets.setCookie}`,
              `X-Docker-Token: ${secrets.v1Token}`,
            ),
            'hello',
          );
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['log.level=trace', 'upstream.username=up'],
      env: { TIDEGATE_UPSTREAM_PASSWORD: secrets.upstreamPassword },
    });
    for (const stream of [frontDoor.process.stdout, frontDoor.process.stderr])
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  let count = 0;
  /** Sends a request to a path of its own; gives its log line without what no test can know. */
  const logged = async (send: (path: string) => Promise<unknown>) => {
    const path = `/v2/logged/${++count}`;
    await send(path);
    const line = await frontDoor.logged((entry) => entry['path'] === path);
    assert.match(line['requestId'] as string, /^[0-9a-f]{32}$/);
    assert.ok((line['durationMs'] as number) >= 0);
    assert.ok(!Number.isNaN(Date.parse(line['time'] as string)));
    const unknowable = ['requestId', 'durationMs', 'time', 'pid', 'hostname', 'path'];
    return Object.fromEntries(Object.entries(line).filter(([key]) => !unknowable.includes(key)));
  };
  const common = { level: 30, msg: 'request', client: '127.0.0.1' };

  test('a download', async () => {
    assert.deepEqual(
      await logged((path) =>
        exchange(frontDoor, authorized(`GET ${path}?a=${secrets.query}`, 'User-Agent: test/1')),
      ),
      {
        ...common,
        user,
        method: 'GET',
        route: 'registry',
        status: 200,
        bytesIn: 0,
        bytesOut: 5,
        userAgent: 'test/1',
      },
    );
  });

  test('an upload', async () => {
    assert.deepEqual(
      await logged((path) =>
        exchange(frontDoor, authorized(`PATCH ${path}`, 'Transfer-Encoding: chunked'), chunked(secrets.body)),
      ),
      {
        ...common,
        user,
        method: 'PATCH',
        route: 'registry',
        status: 200,
        bytesIn: 10,
        bytesOut: 5,
        userAgent: '',
      },
    );
  });

  test('a refusal, with the reason that the client is not told', async () => {
    const refused = {
      ...common,
      user: null,
      route: 'registry',
      status: 401,
      bytesIn: 0,
      bytesOut: 0,
      userAgent: '',
    };
    assert.deepEqual(await logged((path) => exchange(frontDoor, anonymous(`GET ${path}`))), {
      ...refused,
      method: 'GET',
      code: 'UNAUTHORIZED',
      reason: 'no-credentials',
    });
    assert.deepEqual(
      await logged((path) => exchange(frontDoor, anonymous(`HEAD ${path}`, `Authorization: ${wrong}`))),
      { ...refused, method: 'HEAD', code: 'UNAUTHORIZED', reason: 'wrong-credentials' },
    );
  });

  test('a client that leaves', async () => {
    const line = await logged(async (path) => {
      const client = await connectClient(frontDoor);
      const begun = new Promise<void>((resolve) => {
        arrived = (startLine) => {
          if (startLine.includes(path)) resolve();
        };
      });
      client.send(authorized(`PATCH ${path}`, 'Content-Length: 1000') + 'abc');
      await begun;
      client.leave();
      await frontDoor.logged((entry) => entry['path'] === path);
    });
    assert.equal(line['status'], 0);
    assert.equal(line['reason'], 'client-left');
  });

  test('bad requests: one line each, with status and why', async () => {
    for (const [request, status] of [
      ['no HTTP\r\n\r\n', 400],
      [head('CONNECT a:1 HTTP/1.1', 'Host: a'), 405],
      [anonymous('GET /v2/', `X: ${'x'.repeat(40_000)}`), 431],
    ] as const) {
      const before = frontDoor.log.length;
      assert.equal((await exchange(frontDoor, request)).status, status);
      const line = await frontDoor.logged(
        (entry) =>
          entry.msg === 'bad request' && entry['status'] === status && frontDoor.log.indexOf(entry) >= before,
      );
      assert.equal(line['client'], '127.0.0.1');
    }
  });

  test('a client that has closed its side before its request is read: nothing is done, and the status is 0', async () => {
    const target = '/v2/logged/by-one-who-left';
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/logged/before'));
    assert.equal((await client.response()).status, 200);
    frontDoor.process.kill('SIGSTOP');
    try {
      client.socket.resume().end(authorized(`GET ${target}`));
      await once(client.socket, 'finish');
    } finally {
      frontDoor.process.kill('SIGCONT');
    }
    const line = await frontDoor.logged((entry) => entry['path'] === target);
    assert.deepEqual([line['status'], line['bytesOut']], [0, 0]);
    assert.ok(upstream.requests.every(({ startLine }) => !startLine.includes(target)));
    client.leave();
  });

  test('what a client writes cannot forge a line', async () => {
    const agent = 'a","status":999,"msg":"forged\xff\\';
    const line = await logged((path) =>
      exchange(frontDoor, authorized(`GET ${path}`, `User-Agent: ${agent}`)),
    );
    assert.equal(line['userAgent'], agent);
    assert.equal(line['status'], 200);
    const escaping = await logged((path) =>
      exchange(frontDoor, authorized(`GET ${path}`, 'User-Agent: \x9b31m\x85\ta')),
    );
    assert.equal(escaping['userAgent'], '\\u{9b}31m\\u{85}\\u{9}a');
    const long = await logged((path) =>
      exchange(frontDoor, authorized(`GET ${path}`, `User-Agent: ${'x'.repeat(9999)}`)),
    );
    assert.equal((long['userAgent'] as string).length, 512);
  });

  test('no password, token, cookie or query value is in it, at level trace', async () => {
    const seenBefore = frontDoor.log.length;
    const lines = [
      ['GET /v2/', `Authorization: ${wrong}`],
      ['GET /v2/x', 'Authorization: Basic %%%'],
      ['GET /v2/x', `Authorization: Bearer ${secrets.bearer}`],
      ['GET /v1/x', `Authorization: Token ${secrets.v1Token}`],
      ['GET /v1/x', `Authorization: Token ${secrets.bearer}`],
      ['GET /v2/x', `Authorization: ${basic}`, `Authorization: ${wrong}`],
      ['GET /v2/x', `Authorization: ${basic}`, `Cookie: a=${secrets.cookie}`, `X-A: ${secrets.header}`],
      [`PUT /v2/x?_state=${secrets.query}`, `Authorization: ${basic}`, 'Content-Length: 0'],
      [`GET /v2/../x?a=${secrets.query}`, `Authorization: ${basic}`],
      [`GET /v2/x?a=${secrets.query}#b`, `Authorization: ${basic}`],
      [`GET https://u:${secrets.absolute}@registry.example/v2/`, `Authorization: ${basic}`],
      ['GET /v2/broken', `Authorization: ${basic}`],
      ['GET /v2/garbage', `Authorization: ${basic}`],
      ['GET /v2/x', `Authorization : ${basic}`],
      ['GET /v2/x', `Authorization: ${basic}`, secrets.header],
      [`G\0ET /v2/${secrets.header}`, `Authorization: ${basic}`],
    ];
    for (const [requestLine = '', ...headers] of lines)
      await exchange(frontDoor, anonymous(requestLine, ...headers));
    await frontDoor.logged(
      (entry) => entry.msg === 'bad request' && frontDoor.log.indexOf(entry) > seenBefore,
    );
    await frontDoor.stop(); // to the last byte of output
    const all = Object.values(secrets).concat(password);
    for (const secret of all) {
      for (const form of [
        secret,
        Buffer.from(secret).toString('base64').slice(0, 10),
        encodeURIComponent(secret),
      ])
        assert.ok(!output.includes(form), `${form} is in the log`);
    }
    for (const value of [basic, wrong, Buffer.from(`up:${secrets.upstreamPassword}`).toString('base64')])
      assert.ok(!output.includes(value.replace('Basic ', '').slice(0, 16)), 'credentials are in the log');
    assert.ok(output.length > 2000);
  });
});
