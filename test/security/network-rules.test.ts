import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { clientHost, connectClient, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { startProxyStandIn } from '../support/proxy-stand-in.ts';
import { until } from '../support/redis.ts';
import { isRefusal, replaceConfig, sighup } from '../support/reload.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
  type UpstreamScript,
} from '../support/scripted-upstream.ts';
import { basicOf, challengeOf, tokenIn } from '../support/tokens.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const htpasswd = ['alice', 'bob', '127.0.0.2'].map((name) => `${name}:${hash}\n`).join('');
const inside = '127.0.0.2';
const other = '127.0.1.2';
const outside = '127.0.0.1';
const proxy = '127.0.0.8';
const config = `
listen: { trustedProxies: [${proxy}] }
policy:
  - { who: ["user:alice"], repositories: ["**"], actions: [pull, push, delete] }
  - { who: ["network:127.0.0.2/31"], repositories: ["hub/**"], actions: [pull] }
  - { who: ["network:127.0.1.0/24", "network:fd00::/8"], repositories: ["quay/**"], actions: [pull] }
  - { who: [anonymous], repositories: ["drop/**"], actions: [pull, push] }
  - { who: [authenticated], repositories: ["team/**"], actions: [pull] }
`;
const digest = `sha256:${'0'.repeat(64)}`;
const manifest = (repository: string) => `GET /v2/${repository}/manifests/1`;

const content = '{}';
const type = 'application/vnd.oci.image.manifest.v1+json';
const script: UpstreamScript = async (request) => {
  await request.body();
  const named = `Docker-Content-Digest: sha256:${createHash('sha256').update(content).digest('hex')}`;
  const fields = request.startLine.includes('/manifests/') ? [`Content-Type: ${type}`, named] : [];
  request.answer(head('HTTP/1.1 200 OK', ...fields, `Content-Length: ${content.length}`), content);
};

type Sent = { readonly from?: string; readonly lines?: readonly string[] };

/** Sends a request from an address of this machine, on a connection of its own. */
async function ask(
  door: Pick<FrontDoor, 'port' | 'ca'>,
  request: string,
  { from = outside, lines = [] }: Sent,
): Promise<Response> {
  const client = await connectClient(door, { localAddress: from });
  try {
    const length = /^(?:GET|HEAD)/.test(request) ? [] : ['Content-Length: 0'];
    client.send(head(`${request} HTTP/1.1`, `Host: ${clientHost}`, `Accept: ${type}`, ...length, ...lines));
    return await client.response();
  } finally {
    client.leave();
  }
}

describe('rules for networks', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script });
    door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });
  const statusOf = async (request: string, sent: Sent) => (await ask(door, request, sent)).status;

  const requests: readonly (readonly [request: string, sent: Sent, status: number])[] = [
    [manifest('hub/x'), { from: inside }, 200],
    [`GET /v2/hub/x/blobs/${digest}`, { from: inside }, 200],
    ['GET /v2/hub/x/tags/list', { from: '127.0.0.3' }, 200],
    [`GET /v2/hub/x/referrers/${digest}`, { from: inside }, 200],
    [manifest('hub/x'), { from: outside }, 401],
    [manifest('hub/x'), { from: '127.0.0.4' }, 401],
    [manifest('hub/x'), { from: other }, 401],
    [manifest('quay/x'), { from: other }, 200],
    [manifest('quay/x'), { from: inside }, 401],
    [manifest('team/x'), { from: inside }, 401],
    ['PUT /v2/hub/x/manifests/1', { from: inside }, 401],
    ['POST /v2/hub/x/blobs/uploads/', { from: inside }, 401],
    [`DELETE /v2/hub/x/manifests/${digest}`, { from: inside }, 401],
    ['GET /v1/images/0123/json', { from: inside }, 401],
    ['GET /', { from: inside }, 401],
    // Who logs in is in no network: neither by a right password nor by a wrong one, whatever the name.
    [manifest('hub/x'), { from: inside, lines: [basicOf('bob', 'x')] }, 404],
    [manifest('hub/x'), { from: inside, lines: [basicOf('127.0.0.2', 'x')] }, 404],
    [manifest('hub/x'), { from: inside, lines: [basicOf('bob', 'y')] }, 401],
    [manifest('hub/x'), { from: inside, lines: [basicOf('', 'x')] }, 401],
    [manifest('hub/x'), { from: inside, lines: [basicOf('', '')] }, 200],
    [manifest('hub/x'), { from: outside, lines: [basicOf('', '')] }, 401],
  ];
  for (const [request, sent, status] of requests)
    test(`${request} from ${sent.from ?? ''} with ${sent.lines?.join() ?? 'nothing'} is ${status}`, async () => {
      assert.equal(await statusOf(request, sent), status);
    });

  const claimed: readonly (readonly [line: string, status: number])[] = [
    ['X-Forwarded-For: 127.0.0.2', 200],
    ['X-Forwarded-For: ::ffff:127.0.0.2', 200],
    ['X-Forwarded-For: 0:0:0:0:0:FFFF:7f00:0002', 200],
    ['X-Forwarded-For: 203.0.113.1, 127.0.0.2', 200],
    ['X-Forwarded-For: 127.0.0.2, 203.0.113.1', 401],
    ['X-Forwarded-For: 127.0.0.2\r\nX-Forwarded-For: 203.0.113.1', 401],
    ['X-Forwarded-For: 203.0.113.1', 401],
    ['X-Forwarded-For: 127.0.0.2, unknown', 401],
    ['X-Forwarded-For: 127.0.0.2,', 401],
    ['X-Forwarded-For: ::127.0.0.2', 401],
    ['X-Forwarded-For: 127.0.0.2%lo', 401],
    ['X-Forwarded-For: 127.0.2', 401],
    ['X-Real-IP: 127.0.0.2', 401],
    ['Forwarded: for=127.0.0.2', 401],
  ];
  for (const [line, status] of claimed) {
    test(`a trusted proxy's ${JSON.stringify(line)}: ${status}`, async () => {
      assert.equal(await statusOf(manifest('hub/x'), { from: proxy, lines: [line] }), status);
    });
    test(`anyone else's ${JSON.stringify(line)} is nothing`, async () => {
      assert.equal(await statusOf(manifest('hub/x'), { from: outside, lines: [line] }), 401);
      assert.equal(await statusOf(manifest('hub/x'), { from: inside, lines: [line] }), 200);
    });
  }

  test('IPv6 is a network as any other', async () => {
    for (const [address, status] of [
      ['fd12::1', 200],
      ['[FD12::1]:4711', 200],
      ['fe80::1', 401],
    ] as const)
      assert.equal(
        await statusOf(manifest('quay/x'), { from: proxy, lines: [`X-Forwarded-For: ${address}`] }),
        status,
      );
  });

  test('what is in the cache is given to those inside alone', async () => {
    const cached = manifest('hub/cached');
    await ask(door, cached, { from: inside });
    const hit = await ask(door, cached, { from: inside });
    assert.deepEqual([hit.status, values(hit, 'x-cache')], [200, ['HIT']]);
    const seen = upstream.requests.length;
    for (const from of [outside, other, proxy]) {
      const refused = await ask(door, cached, { from });
      assert.deepEqual([refused.status, errorCode(refused)], [401, 'UNAUTHORIZED']);
      assert.deepEqual(values(refused, 'x-cache'), []);
    }
    assert.equal(upstream.requests.length, seen);
  });

  const tokenFrom = async (from: string, scope: string) =>
    tokenIn(await ask(door, `GET /token?service=Registry&scope=${scope}`, { from }));

  test('a token that was fetched inside is good for nothing outside, as often as it is tried', async () => {
    const { token, scope } = await tokenFrom(inside, 'repository:hub/x:pull,push');
    assert.equal(scope, 'repository:hub/x:pull');
    const lines = [`Authorization: Bearer ${token}`];
    for (let round = 0; round < 2; round += 1) {
      assert.equal(await statusOf(manifest('hub/x'), { from: inside, lines }), 200);
      for (const from of [outside, other, proxy]) {
        const refused = await ask(door, manifest('hub/x'), { from, lines });
        assert.equal(refused.status, 401);
        assert.match(challengeOf(refused), /^Bearer .*error="insufficient_scope"$/);
      }
    }
    assert.equal(await statusOf('PUT /v2/hub/x/manifests/1', { from: inside, lines }), 401);
  });

  test('a token that was fetched outside allows what is allowed there, also inside', async () => {
    for (const from of [outside, other]) {
      const { token, scope } = await tokenFrom(from, 'repository:hub/x:pull');
      assert.equal(scope, '');
      const lines = [`Authorization: Bearer ${token}`];
      assert.equal(await statusOf(manifest('hub/x'), { from: inside, lines }), 401);
    }
    const { token } = await tokenFrom(outside, 'repository:drop/x:pull');
    assert.equal(
      await statusOf(manifest('drop/x'), { from: inside, lines: [`Authorization: Bearer ${token}`] }),
      200,
    );
  });

  test('the version check is challenged as ever', async () => {
    for (const from of [inside, outside]) {
      const response = await ask(door, 'GET /v2/', { from, lines: ['User-Agent: docker/28.0.0'] });
      assert.equal(response.status, 401);
      assert.match(challengeOf(response), /^Bearer /);
    }
  });

  test('a blob is mounted only from what may be pulled there', async () => {
    const start = `POST /v2/drop/x/blobs/uploads/?mount=${digest}&from=hub/x`;
    for (const [from, target] of [
      [inside, start],
      [outside, 'POST /v2/drop/x/blobs/uploads/'],
    ] as const) {
      assert.equal(await statusOf(start, { from }), 200);
      assert.equal(upstream.requests.at(-1)?.startLine, `${target} HTTP/1.1`);
    }
  });

  test('the access log has the address, nobody’s name, and why it was refused', async () => {
    await ask(door, manifest('hub/logged'), { from: inside });
    await ask(door, manifest('hub/refused'), { from: outside });
    const given = await door.logged(({ path }) => path === '/v2/hub/logged/manifests/1');
    assert.deepEqual([given['user'], given['client'], given['status']], [null, inside, 200]);
    const refused = await door.logged(({ path }) => path === '/v2/hub/refused/manifests/1');
    assert.deepEqual(
      [refused['user'], refused['client'], refused['reason']],
      [null, outside, 'no-credentials'],
    );
  });
});

test('lists that several networks wait for are not shared between them', { timeout: 240_000 }, async () => {
  const names = ['drop/a', 'hub/a', 'quay/a', 'team/a'];
  const list = JSON.stringify({ repositories: names });
  const held: UpstreamRequest[] = [];
  const upstream = await startUpstream({ script: (request) => held.push(request) });
  const door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  try {
    const places: readonly (readonly [from: string, seen: string[]])[] = [
      [outside, ['drop/a']],
      [inside, ['drop/a', 'hub/a']],
      [other, ['drop/a', 'quay/a']],
      ['127.0.0.3', ['drop/a', 'hub/a']],
    ];
    const first = ask(door, 'GET /v2/_catalog', { from: outside });
    await until('a list is walked', () => held.length === 1);
    const waiting = places.map(async ([from, seen]) => {
      const response = await ask(door, 'GET /v2/_catalog', { from });
      const { repositories } = JSON.parse(response.body.toString()) as { repositories: string[] };
      assert.deepEqual(repositories, seen, from);
    });
    let isOver = false;
    const all = Promise.all([first, ...waiting]).finally(() => (isOver = true));
    await until('all are answered', () => {
      for (const request of held.splice(0))
        request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${list.length}`), list);
      return isOver;
    });
    await all;
    // The first, and one of each of the three that differ; the last client has one of its own if it came late.
    assert.ok([4, 5].includes(upstream.requests.length), `${upstream.requests.length} walks`);
  } finally {
    await door.stop();
    await upstream.close();
  }
});

test('a rule ends with the next request after a reload, and one for a trusted proxy is refused', async () => {
  const upstream = await startUpstream({ script });
  const door = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  const client = await connectClient(door, { localAddress: inside });
  try {
    const next = async () => {
      client.send(head(`${manifest('hub/x')} HTTP/1.1`, `Host: ${clientHost}`, `Accept: ${type}`));
      return (await client.response()).status;
    };
    assert.equal(await next(), 200);
    await replaceConfig(door, config.replace(`[${proxy}]`, `[${proxy}, 127.0.0.3]`));
    assert.ok(isRefusal(await sighup(door)));
    assert.equal(await next(), 200);
    await replaceConfig(door, config.replace('127.0.0.2/31', '127.0.0.4/31'));
    assert.equal((await sighup(door)).msg, 'reloaded');
    assert.equal(await next(), 401);
    await replaceConfig(door, config);
    assert.equal((await sighup(door)).msg, 'reloaded');
    assert.equal(await next(), 200);
  } finally {
    client.leave();
    await door.stop();
    await upstream.close();
  }
});

test('with the PROXY protocol the client is whom the header names', { timeout: 240_000 }, async () => {
  const upstream = await startUpstream({ script });
  const door = await startFrontDoor({
    upstreamUrl: upstream.url,
    ...{ htpasswd, config },
    set: ['listen.proxyProtocol=on'],
  });
  try {
    for (const [line, status, ...lines] of [
      ['PROXY TCP4 127.0.0.2 192.0.2.99 4711 443', 200],
      ['PROXY TCP6 ::ffff:127.0.0.2 2001:db8::99 4711 443', 200],
      ['PROXY TCP6 ::127.0.0.2 2001:db8::99 4711 443', 401],
      ['PROXY TCP4 198.51.100.1 127.0.0.2 4711 443', 401],
      ['PROXY TCP4 198.51.100.1 192.0.2.99 4711 443', 401, 'X-Forwarded-For: 127.0.0.2'],
      ['PROXY UNKNOWN', 401],
      ['PROXY UNKNOWN 127.0.0.2 192.0.2.99 4711 443', 401],
    ] as const) {
      const standIn = await startProxyStandIn({
        ...{ targetPort: door.port, from: proxy },
        pieces: (first) => [Buffer.from(`${line}\r\n`), first],
      });
      try {
        const through = { port: standIn.port, ca: door.ca };
        const request = head(`${manifest('hub/x')} HTTP/1.1`, `Host: ${clientHost}`, ...lines);
        assert.equal((await exchange(through, request)).status, status, line);
      } finally {
        await standIn.close();
      }
    }
  } finally {
    await door.stop();
    await upstream.close();
  }
});
