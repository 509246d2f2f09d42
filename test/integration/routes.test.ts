import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { authorized, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** What a registry answers, by method and path; anything else gets 404. */
type Answers = Readonly<Record<string, { status: number; headers?: readonly string[]; body?: string }>>;

function play(answers: Answers): (request: UpstreamRequest) => Promise<void> {
  return async (request) => {
    await request.body();
    const [method = '', target = ''] = request.startLine.split(' ');
    const found = answers[`${method} ${target}`] ?? answers[`${method} ${target.replace(/\?.*/, '')}`];
    const missing = JSON.stringify({
      errors: [
        { code: 'NAME_UNKNOWN', message: 'repository name not known to registry', detail: { name: target } },
      ],
    });
    const { status, headers = [], body = '' } = found ?? { status: 404, body: missing };
    request.answer(
      head(`HTTP/1.1 ${status} X`, `Content-Length: ${body.length}`, ...headers),
      method === 'HEAD' ? '' : body,
    );
  };
}

const manifest = (text: string) => {
  const body = `{"says":"${text}"}`;
  const name = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  return {
    status: 200,
    headers: [`Content-Type: ${manifestType}`, `Docker-Content-Digest: ${name}`],
    body,
  };
};

const page = { status: 200, headers: ['Content-Type: text/html'], body: '<script>steal()</script>' };
const hubAnswers: Answers = {
  [`GET /v2/library/page/blobs/${digest}`]: page,
  [`GET /v2/library/page/referrers/${digest}`]: page,
  'GET /v2/library/page/manifests/latest': page,
  'GET /v2/library/page/tags/list': {
    status: 200,
    headers: [
      'Content-Type: text/html',
      'Link: <//hub.internal/v2/library/page/tags/list?last=b>; rel="next"',
    ],
    body: '{"name":"library/page","tags":["<script>steal()</script>"]}',
  },
  'GET /v2/library/telling/manifests/latest': {
    status: 403,
    body: '{"errors":[{"code":"DENIED","message":"no: http://hub.internal/v2/library/telling/manifests/latest"}]}',
  },
  'GET /v2/library/nginx/manifests/latest': manifest('hub'),
  'GET /v2/library/nginx/tags/list': {
    status: 200,
    headers: ['Content-Type: application/json', 'Link: </v2/library/nginx/tags/list?last=b&n=2>; rel="next"'],
    body: '{"name":"library/nginx","tags":["a","b"]}',
  },
  'GET /v2/library/gone/manifests/latest': {
    status: 404,
    headers: ['Content-Type: application/json'],
    body: JSON.stringify({
      errors: [
        {
          code: 'MANIFEST_UNKNOWN',
          message: 'manifest unknown to library/gone, see library/gone-by',
          detail: { name: 'library/gone' },
        },
      ],
    }),
  },
  'GET /v2/library/locked/manifests/latest': {
    status: 401,
    headers: ['WWW-Authenticate: Bearer realm="https://auth.docker.io/token"'],
  },
  [`GET /v2/library/site/blobs/${digest}`]: {
    status: 200,
    headers: [
      'Set-Cookie: __Host-tidegate=theirs; Secure; Path=/',
      'X-Docker-Token: signature=theirs',
      'Strict-Transport-Security: max-age=0',
      'Clear-Site-Data: "*"',
      'Content-Security-Policy: default-src *',
      `Docker-Content-Digest: ${digest}`,
    ],
  },
  'GET /v2/library/busy/manifests/latest': { status: 429, headers: ['Retry-After: 17'] },
  'GET /v2/library/broken/manifests/latest': {
    status: 500,
    body: '{"errors":[{"code":"UNKNOWN","message":"library/broken"}]}',
  },
};
const teamAnswers: Answers = {
  'POST /v2/app/blobs/uploads/': {
    status: 202,
    headers: ['Location: /v2/app/blobs/uploads/1234?_state=x', 'Range: 0-0'],
  },
  'PUT /v2/app/blobs/uploads/1234': { status: 201, headers: [`Location: /v2/app/blobs/${digest}`] },
};
const ownAnswers: Answers = {
  'GET /v2/app/manifests/latest': manifest('own'),
  'POST /v2/app/blobs/uploads/': { status: 202, headers: ['Location: /v2/app/blobs/uploads/5678'] },
};

describe('several registries under one name', { timeout: 240_000 }, () => {
  let own: ScriptedUpstream;
  let hub: ScriptedUpstream;
  let team: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let seen = { own: 0, hub: 0, team: 0 };

  before(async () => {
    own = await startUpstream({ script: play(ownAnswers) });
    hub = await startUpstream({ script: play(hubAnswers) });
    team = await startUpstream({ script: play(teamAnswers) });
    const away = await startUpstream();
    await away.close();
    frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      config: `
auth: { tokens: "on" }
routes:
  - name: hub
    repositories: ["hub/**"]
    stripPrefix: hub
    namespaces: [docker.io]
    hosts: [hub.example]
    readOnly: true
    upstream: { url: "${hub.url}" }
  - name: team
    repositories: ["group/team/**"]
    stripPrefix: group/team
    namespaces: ["localhost:5001"]
    upstream: { url: "${team.url}" }
  - { name: away, repositories: ["away/**"], upstream: { url: "${away.url}" } }
`,
    });
  });
  after(async () => {
    await frontDoor.stop();
    for (const each of [own, hub, team]) await each.close();
  });
  beforeEach(() => {
    seen = { own: own.requests.length, hub: hub.requests.length, team: team.requests.length };
  });
  const lines = (registry: 'own' | 'hub' | 'team') =>
    ({ own, hub, team })[registry].requests.slice(seen[registry]).map(({ startLine }) => startLine);
  const ask = (request: string, ...fields: string[]): Promise<Response> =>
    exchange(frontDoor, authorized(request, ...fields));
  const askHost = (host: string, request: string): Promise<Response> =>
    exchange(frontDoor, authorized(request).replace(/^Host: .*$/m, `Host: ${host}`));
  const sentence = (response: Response): string => {
    const { errors } = JSON.parse(response.body.toString()) as { errors: { message: string }[] };
    return errors[0]?.message ?? '';
  };

  test('one answer by prefix, by ns and by host', async () => {
    const accept = `Accept: ${manifestType}`;
    const first = await ask('GET /v2/hub/library/nginx/manifests/latest', accept);
    assert.equal(first.body.toString(), '{"says":"hub"}');
    assert.deepEqual(lines('hub'), ['GET /v2/library/nginx/manifests/latest HTTP/1.1']);
    const byNamespace = await ask('GET /v2/library/nginx/manifests/latest?ns=docker.io', accept);
    assert.equal(byNamespace.body.toString(), '{"says":"hub"}');
    assert.deepEqual(values(byNamespace, 'x-cache'), ['HIT']);
    assert.equal(lines('hub').length, 1);
    // A registry's answer may depend on the host, so it is asked once more.
    const byHost = await askHost('hub.example', 'GET /v2/library/nginx/manifests/latest');
    assert.equal(byHost.body.toString(), '{"says":"hub"}');
    assert.deepEqual(lines('own'), []);
  });

  test('the log has the outer name, whichever way it is asked for', async () => {
    await ask('GET /v2/library/by-ns/manifests/latest?ns=docker.io');
    await askHost('hub.example', 'GET /v2/library/by-host/manifests/latest');
    for (const repository of ['by-ns', 'by-host']) {
      const path = `/v2/hub/library/${repository}/manifests/latest`;
      const line = await frontDoor.logged(({ msg, path: logged }) => msg === 'request' && logged === path);
      assert.equal(line['upstream'], 'hub');
    }
  });

  test('what no route matches is answered by upstream', async () => {
    const response = await ask('GET /v2/app/manifests/latest');
    assert.equal(response.body.toString(), '{"says":"own"}');
    assert.deepEqual(lines('hub'), []);
  });

  test('ns is from a closed list', async () => {
    const unlisted = await ask('GET /v2/library/nginx/manifests/latest?ns=quay.io');
    assert.equal(unlisted.status, 404);
    assert.equal(errorCode(unlisted), 'NAME_UNKNOWN');
    const repeated = await ask('GET /v2/library/nginx/manifests/latest?ns=docker.io&ns=docker.io');
    assert.equal(repeated.status, 400);
    assert.deepEqual([lines('own'), lines('hub')], [[], []]);
    const itself = await ask('GET /v2/app/manifests/1?ns=registry.example:8443');
    assert.equal(itself.status, 404);
    assert.deepEqual(lines('own'), ['GET /v2/app/manifests/1 HTTP/1.1']);
    // Another registry on the host that Tidegate's certificate names.
    await ask('GET /v2/app/manifests/1?ns=localhost:5001');
    assert.deepEqual(lines('team'), ['GET /v2/app/manifests/1 HTTP/1.1']);
  });

  test('what is ambiguous is refused first, and its connection closed', async () => {
    const response = await ask('GET /v2/app/manifests/1?ns=quay.io', 'Host: another.example');
    assert.equal(response.status, 400);
    assert.deepEqual(values(response, 'connection'), ['close']);
  });

  test('nobody writes through a read-only route', async () => {
    for (const target of ['/v2/hub/library/x/blobs/uploads/', '/v2/library/x/blobs/uploads/?ns=docker.io']) {
      const response = await ask(`POST ${target}`, 'Content-Length: 0');
      assert.equal(response.status, 405);
      assert.deepEqual(values(response, 'allow'), ['GET, HEAD']);
    }
    assert.deepEqual([lines('own'), lines('hub')], [[], []]);
  });

  test('a list of tags has the outer name, and links to its next part', async () => {
    const response = await ask('GET /v2/hub/library/nginx/tags/list?n=2');
    assert.deepEqual(JSON.parse(response.body.toString()), { name: 'hub/library/nginx', tags: ['a', 'b'] });
    assert.deepEqual(values(response, 'link'), ['</v2/hub/library/nginx/tags/list?last=b&n=2>; rel="next"']);
    const byHost = await askHost('hub.example', 'GET /v2/library/nginx/tags/list?n=2');
    assert.deepEqual(values(byHost, 'link'), ['</v2/library/nginx/tags/list?last=b&n=2>; rel="next"']);
    assert.deepEqual(values(await askHost('hub.example', 'GET /v2/library/page/tags/list'), 'link'), [
      '</v2/library/page/tags/list?last=b>; rel="next"',
    ]);
    assert.deepEqual(values(await ask('GET /v2/hub/library/page/tags/list'), 'link'), [
      '</v2/hub/library/page/tags/list?last=b>; rel="next"',
    ]);
  });

  for (const target of ['manifests/latest', 'tags/list', `referrers/${digest}`, `blobs/${digest}`])
    test(`no answer of a route is a page of this site: ${target}`, async () => {
      const response = await ask(`GET /v2/hub/library/page/${target}`);
      assert.equal(response.status, 200);
      assert.match(values(response, 'content-security-policy').join(), /\bsandbox\b/);
      assert.deepEqual(values(response, 'x-content-type-options'), ['nosniff']);
    });

  test('an error does not say where the registry is', async () => {
    const response = await ask('GET /v2/hub/library/telling/manifests/latest');
    assert.equal(response.status, 403);
    assert.equal(errorCode(response), 'DENIED');
    assert.equal(sentence(response), 'The mirror of docker.io (route hub) answered 403 DENIED.');
  });

  test('an upload goes on at the outer name', async () => {
    const started = await ask('POST /v2/group/team/app/blobs/uploads/', 'Content-Length: 0');
    const [location = ''] = values(started, 'location');
    assert.equal(location, '/v2/group/team/app/blobs/uploads/1234?_state=x');
    const ended = await ask(`PUT ${location}&digest=${digest}`, 'Content-Length: 0');
    assert.deepEqual(values(ended, 'location'), [`/v2/group/team/app/blobs/${digest}`]);
    assert.deepEqual(lines('team'), [
      'POST /v2/app/blobs/uploads/ HTTP/1.1',
      `PUT /v2/app/blobs/uploads/1234?_state=x&digest=${digest} HTTP/1.1`,
    ]);
  });

  for (const [name, from, sent] of [
    ['within a route names its source', 'from=group%2Fteam%2Fbase', `?mount=${digest}&from=base`],
    ['in another spelling does, too', 'fr%6fm=group/team/base', `?mount=${digest}&from=base`],
    ['from another route becomes an upload', 'from=hub%2Flibrary%2Fnginx', ''],
    ['from upstream becomes an upload', 'from=base', ''],
  ] as const)
    test(`a mount ${name}`, async () => {
      const target = `/v2/group/team/app/blobs/uploads/?mount=${digest}&${from}`;
      assert.equal((await ask(`POST ${target}`, 'Content-Length: 0')).status, 202);
      assert.deepEqual(lines('team'), [`POST /v2/app/blobs/uploads/${sent} HTTP/1.1`]);
    });

  test('a mount from a route to upstream becomes an upload', async () => {
    const target = `/v2/app/blobs/uploads/?mount=${digest}&from=hub/library/nginx`;
    assert.equal((await ask(`POST ${target}`, 'Content-Length: 0')).status, 202);
    assert.deepEqual(lines('own'), ['POST /v2/app/blobs/uploads/ HTTP/1.1']);
  });

  test('an error has the outer name', async () => {
    const response = await ask('GET /v2/hub/library/gone/manifests/latest');
    assert.equal(response.status, 404);
    assert.equal(errorCode(response), 'MANIFEST_UNKNOWN');
    assert.equal(sentence(response), 'manifest unknown to hub/library/gone, see library/gone-by');
  });

  for (const [repository, status, says] of [
    ['locked', 502, /^The mirror of docker\.io \(route hub\) wants credentials/],
    ['busy', 429, /^The mirror of docker\.io \(route hub\) limits/],
    ['broken', 502, /^The mirror of docker\.io \(route hub\) could not get it \(500 UNKNOWN\)/],
  ] as const)
    test(`what the source answers is said: ${repository}`, async () => {
      for (const field of [`Accept: ${manifestType}`, 'Cache-Control: no-cache']) {
        const response = await ask(`GET /v2/hub/library/${repository}/manifests/latest`, field);
        assert.equal(response.status, status);
        assert.match(sentence(response), says);
        assert.deepEqual(values(response, 'www-authenticate'), []);
        assert.deepEqual(values(response, 'retry-after'), status === 429 ? ['17'] : []);
      }
    });

  test('a registry behind a route learns no secret, and says nothing about the site', async () => {
    const response = await ask(
      `GET /v2/hub/library/site/blobs/${digest}`,
      'Cookie: __Host-tidegate=mine',
      'X-Registry-Auth: kept',
    );
    assert.equal(response.status, 200);
    const names = response.headers.map(([name]) => name.toLowerCase());
    assert.deepEqual(names.sort(), [
      ...['connection', 'content-length', 'content-security-policy', 'content-type', 'date'],
      ...['docker-content-digest', 'keep-alive', 'x-content-type-options'],
    ]);
    const [asked] = hub.requests.slice(seen.hub);
    assert.ok(asked);
    assert.deepEqual(values(asked, 'cookie'), []);
    assert.deepEqual(values(asked, 'authorization'), []);
    const reused = await exchange(
      frontDoor,
      head('GET /v2/app/manifests/latest HTTP/1.1', 'Host: x', 'Authorization: Token signature=theirs'),
    );
    assert.equal(reused.status, 401);
  });

  test('a prefix in another spelling is refused', async () => {
    assert.equal((await ask('GET /v2/h%75b/library/nginx/manifests/latest')).status, 400);
    assert.deepEqual([lines('own'), lines('hub')], [[], []]);
  });

  test('a client that asks by host gets a token for the name that it knows', async () => {
    const scope = 'scope=repository:library/nginx:pull';
    const given = await askHost('hub.example', `GET /token?service=Registry&${scope}`);
    const { token, scope: scopes } = JSON.parse(given.body.toString()) as { token: string; scope: string };
    assert.equal(scopes, 'repository:library/nginx:pull repository:hub/library/nginx:pull');
    const request = 'GET /v2/library/nginx/manifests/latest HTTP/1.1';
    const pulled = await exchange(
      frontDoor,
      head(request, 'Host: hub.example', `Authorization: Bearer ${token}`),
    );
    assert.equal(pulled.body.toString(), '{"says":"hub"}');
  });

  test('a registry that is away is left alone for a while, and harms no other', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 6; i += 1)
      statuses.push((await ask(`GET /v2/away/x/manifests/${i}`, 'Cache-Control: no-cache')).status);
    assert.deepEqual(statuses, [502, 502, 502, 502, 502, 503]);
    assert.equal((await ask('GET /v2/app/manifests/latest')).status, 200);
  });
});
