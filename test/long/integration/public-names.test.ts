import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createContainersClient } from '../../support/clients-containers.ts';
import { basic, password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { createImage, type Image } from '../../support/image.ts';
import { stop } from '../../support/processes.ts';
import { exchange, type Response } from '../../support/raw-client.ts';
import { freePort, until } from '../../support/redis.ts';
import { startRegistry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { challengeOf } from '../../support/tokens.ts';

/** With anonymous pulls, so that tokens are given too. */
const policy = `
policy:
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
  - { who: [authenticated], repositories: ["**"], actions: [pull, push] }
`;
const trusting = ['listen.trustedProxies=127.0.0.1'];
/** What the proxy writes as Host: where it reaches Tidegate, and no client ever does. */
const inner = 'Host: 10.0.0.5:8443';
const uploads = '/v2/team/app/blobs/uploads/';

const send = (door: FrontDoor, request: string, lines: readonly string[], body = ''): Promise<Response> =>
  exchange(
    door,
    head(
      `${request} HTTP/1.1`,
      ...lines,
      `Authorization: ${basic}`,
      ...(request.startsWith('GET') ? [] : [`Content-Length: ${body.length}`]),
    ),
    body,
  );

/** The ways in which a request says by which name it came, and that name. */
const ways = [
  [
    'X-Forwarded-Host',
    'https://registry.test',
    [inner, 'X-Forwarded-Host: registry.test', 'X-Forwarded-Proto: https'],
  ],
  [
    'lists of values',
    'https://registry.test',
    [inner, 'X-Forwarded-Host: registry.test, 10.0.0.5:8443', 'X-Forwarded-Proto: https, https'],
  ],
  [
    'X-Forwarded-Port',
    'https://registry.test:5443',
    [inner, 'X-Forwarded-Host: registry.test', 'X-Forwarded-Port: 5443'],
  ],
  ['Forwarded', 'https://registry.test', [inner, 'Forwarded: for=192.0.2.1;host=registry.test;proto=https']],
  [
    'Forwarded, of two proxies',
    'https://registry.test:5443',
    [inner, 'Forwarded: host="registry.test:5443";proto=https', 'Forwarded: host=10.0.0.5;proto=http'],
  ],
  ['Forwarded without a host', 'https://registry.test', ['Host: registry.test', 'Forwarded: for=192.0.2.1']],
  [
    'plain http before the proxy',
    'http://registry.test',
    [inner, 'X-Forwarded-Host: registry.test', 'X-Forwarded-Proto: http'],
  ],
  ['Host', 'https://registry.test', ['Host: registry.test', 'X-Forwarded-Proto: https, https']],
  ['Host with the port that goes without saying', 'https://registry.test:443', ['Host: registry.test:443']],
] as const;

describe(
  'by whatever name a client comes, a real registry',
  { timeout: 360_000, skip: unlessInstalled('docker-registry') },
  () => {
    const bytes = 'a small layer';
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    for (const [what, http] of [
      ['that names what it is asked by', {}],
      ['with a fixed http.host', { host: 'https://registry.test' }],
      ['with a fixed http.host on http', { host: 'http://registry.test:80' }],
      ['with relative URLs', { relativeurls: true }],
    ] as const) {
      test(`${what} takes an upload under a policy`, async () => {
        const registry = await startRegistry({ http });
        const door = await startFrontDoor({
          ...{ upstreamUrl: registry.url, config: policy, set: trusting },
          hosts: ['localhost', 'registry.test'],
        });
        try {
          for (const [way, origin, lines] of ways) {
            const follow = (response: Response): string => {
              const [location = ''] = values(response, 'location');
              if (location.startsWith('/')) return location;
              assert.ok(location.startsWith(`${origin}/v2/team/app/`), `${way}: ${location}`);
              return location.slice(origin.length);
            };
            const begun = await send(door, `POST ${uploads}`, lines);
            assert.equal(begun.status, 202, way);
            assert.match(follow(begun), /[?&]_owner=/, way);
            const patched = await send(door, `PATCH ${follow(begun)}`, lines, bytes);
            assert.equal(patched.status, 202, way);
            const put = await send(door, `PUT ${follow(patched)}&digest=${digest}`, lines);
            assert.equal(put.status, 201, way);
            assert.equal(follow(put), `/v2/team/app/blobs/${digest}`);
          }
        } finally {
          await door.stop();
          await registry.stop();
        }
      });
    }
  },
);

describe('the name by which a client comes', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  let distrusting: FrontDoor;
  let location = '';
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        if (location === '') {
          await answerOk(request);
          return;
        }
        await request.body();
        request.answer(head('HTTP/1.1 202 Accepted', `Location: ${location}`, 'Content-Length: 0'));
      },
    });
    const options = { upstreamUrl: upstream.url, config: policy };
    door = await startFrontDoor({ ...options, set: trusting, hosts: ['localhost', 'registry.test'] });
    distrusting = await startFrontDoor({ ...options, hosts: ['localhost', 'registry.test'] });
  });
  after(async () => {
    await door.stop();
    await distrusting.stop();
    await upstream.close();
  });
  const challenged = (at: FrontDoor, lines: readonly string[]) =>
    exchange(at, head('GET /v2/ HTTP/1.1', ...lines, 'User-Agent: docker/28.0.0'));

  for (const [way, origin, lines] of ways) {
    test(`is where the token is to be fetched: ${way}`, async () => {
      const response = await challenged(door, lines);
      assert.equal(response.status, 401);
      assert.equal(challengeOf(response), `Bearer realm="${origin}/token",service="Registry"`);
    });

    test(`is what upstream is told, in one way: ${way}`, async () => {
      location = '';
      assert.equal((await send(door, 'GET /v2/app/tags/list', lines)).status, 200);
      const received = upstream.requests.at(-1) ?? assert.fail();
      const [scheme = '', authority = ''] = origin.split('://');
      assert.deepEqual(values(received, 'x-forwarded-proto'), [scheme]);
      assert.deepEqual(values(received, 'x-forwarded-host'), [authority]);
      assert.deepEqual(values(received, 'x-forwarded-port'), []);
    });
  }

  test('is never what somebody else claims', async () => {
    const claims = [
      'Host: registry.test',
      'X-Forwarded-Host: evil.test',
      'Forwarded: host=evil.test;proto=http',
    ];
    const response = await challenged(distrusting, [
      ...claims,
      'X-Forwarded-Port: 1',
      'X-Forwarded-Proto: http',
    ]);
    assert.equal(challengeOf(response), 'Bearer realm="https://registry.test/token",service="Registry"');
  });

  test('is not taken from what cannot be read, which goes no further', async () => {
    location = '';
    const lines = [
      'Host: registry.test',
      'X-Forwarded-Host: evil.test/"',
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Port: 0',
      'Forwarded: host="evil.test/";proto=gopher',
    ];
    assert.equal(
      challengeOf(await challenged(door, lines)),
      'Bearer realm="https://registry.test/token",service="Registry"',
    );
    await send(door, 'GET /v2/app/tags/list', lines);
    const received = upstream.requests.at(-1) ?? assert.fail();
    assert.doesNotMatch(received.head, /evil|gopher|javascript/);
  });

  test('a Location that leads elsewhere stays, and the log says what to do', async () => {
    location = 'https://elsewhere.test/v2/team/app/blobs/uploads/1';
    const begun = await send(door, `POST ${uploads}`, ['Host: registry.test']);
    assert.deepEqual(values(begun, 'location'), [location]);
    const line = await door.logged((entry) => entry['place'] === 'elsewhere.test');
    assert.match(line.msg, /http\.host/);
  });
});

describe('an empty Host, as load balancers send it', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    door = await startFrontDoor({ upstreamUrl: upstream.url, config: policy });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });

  test('is answered at /v2/ and /_ping as any other', async () => {
    for (const request of ['GET /v2/', 'HEAD /v2/', 'GET /_ping', 'HEAD /_ping']) {
      const response = await exchange(door, head(`${request} HTTP/1.1`, 'Host:'));
      assert.equal(response.status, 200, request);
      const received = upstream.requests.at(-1) ?? assert.fail();
      assert.deepEqual(values(received, 'host'), [`127.0.0.1:${upstream.port}`]);
      assert.deepEqual(values(received, 'x-forwarded-host'), []);
    }
    const docker = await exchange(door, head('GET /v2/ HTTP/1.1', 'Host:', 'User-Agent: docker/28.0.0'));
    assert.deepEqual([docker.status, challengeOf(docker)], [401, 'Basic realm="Registry"']);
  });

  test('is refused where an answer would have to name the front door', async () => {
    const before = upstream.requests.length;
    for (const request of ['GET /v2/app/manifests/1', `POST ${uploads}`, 'GET /token', 'GET /'])
      assert.equal((await send(door, request, ['Host:'])).status, 400, request);
    for (const lines of [['Host:', 'Host:'], ['Host: a/b'], ['Host:', 'Host: a'], []])
      assert.equal((await exchange(door, head('GET /v2/ HTTP/1.1', ...lines))).status, 400, lines.join());
    assert.equal(upstream.requests.length, before);
  });
});

describe(
  'skopeo pushes and pulls under a policy through HAProxy, on another name and port',
  { timeout: 360_000, skip: unlessInstalled('docker-registry', 'haproxy', 'skopeo', 'tar') },
  () => {
    let image: Image;
    before(async () => {
      image = await createImage({ layerCount: 2, layerBytes: 300_000 });
    });
    after(() => image.remove());

    for (const [what, fields, isFixed] of [
      ['X-Forwarded-Host', ['X-Forwarded-Host %[req.hdr(host)]', 'X-Forwarded-Proto https'], false],
      ['Forwarded', [`Forwarded 'host="%[req.hdr(host)]";proto=https'`], false],
      ['a registry with a fixed http.host', [], true],
    ] as const) {
      test(what, async () => {
        const port = await freePort();
        const host = `localhost:${port}`;
        const registry = await startRegistry({ http: isFixed ? { host: `https://${host}` } : {} });
        // Where nobody says the name, no realm can: Basic it is.
        const set = isFixed ? [...trusting, 'auth.tokens=off'] : trusting;
        const door = await startFrontDoor({ upstreamUrl: registry.url, config: policy, set });
        const proxy = await startHaproxy(door, { port, fields });
        const client = await createContainersClient('skopeo', { host, ca: door.ca, image });
        try {
          const access = { loggedIn: true, trusting: true };
          for (const step of [
            () => client.login(password, access),
            () => client.push('team/app:1', access),
            () => client.pull('team/app:1', access),
          ]) {
            const done = await step();
            assert.equal(done.code, 0, done.stderr);
          }
          assert.equal((await registry.manifest('team/app', '1')).configDigest, image.id);
        } finally {
          await client.cleanUp();
          await proxy();
          await door.stop();
          await registry.stop();
        }
      });
    }
  },
);

/** A real HAProxy that terminates TLS on a loopback port, speaks TLS again to Tidegate, and says there what `fields` do; gives its end. */
async function startHaproxy(
  door: FrontDoor,
  { port, fields }: { port: number; fields: readonly string[] },
): Promise<() => Promise<void>> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-haproxy-'));
  const pem = ['certs/server.crt', 'certs/server.key'].map((file) => readFile(path.join(door.dir, file)));
  await writeFile(path.join(dir, 'server.pem'), Buffer.concat(await Promise.all(pem)), { mode: 0o600 });
  const config = [
    'defaults',
    '  mode http',
    '  timeout connect 5s',
    '  timeout client 30s',
    '  timeout server 30s',
    'frontend public',
    `  bind 127.0.0.1:${port} ssl crt ${dir}/server.pem`,
    ...fields.map((field) => `  http-request set-header ${field}`),
    `  http-request set-header ${inner.replace(':', '')}`,
    '  default_backend doors',
    'backend doors',
    `  server door 127.0.0.1:${door.port} ssl verify required ca-file ${door.caPath} sni str(localhost) verifyhost localhost`,
    '',
  ];
  await writeFile(path.join(dir, 'haproxy.cfg'), config.join('\n'));
  const child = spawn('haproxy', ['-f', path.join(dir, 'haproxy.cfg'), '-db'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('HAProxy listens', async () => {
    assert.equal(child.exitCode, null, said);
    return new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  });
  return async () => {
    await stop(child);
    await rm(dir, { recursive: true, force: true });
  };
}
