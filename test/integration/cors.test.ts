import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { tidegate } from '../support/processes.ts';
import { anonymous, authorized, exchange, type Response } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamScript } from '../support/scripted-upstream.ts';

const page = 'https://ui.example';
const preflight = (origin: string, target = '/v2/team/app/manifests/1', ...lines: string[]) =>
  anonymous(
    `OPTIONS ${target}`,
    `Origin: ${origin}`,
    'Access-Control-Request-Method: DELETE',
    'Access-Control-Request-Headers: authorization',
    ...lines,
  );
const corsFields = (response: Response) =>
  response.headers
    .map((line) => String(line))
    .filter((line) => /^access-control-/i.test(line))
    .map((line) => line.toLowerCase());
const allows = (response: Response, origin: string | null) => {
  assert.deepEqual(values(response, 'access-control-allow-origin'), origin === null ? [] : [origin]);
  assert.deepEqual(values(response, 'access-control-allow-credentials'), origin === null ? [] : ['true']);
  const varies = values(response, 'vary').join(', ');
  assert.match(varies, /\bOrigin\b/);
};

/** A registry that lets everybody in, as many are configured to. */
const script: UpstreamScript = async (request) => {
  await request.body();
  const isHead = request.startLine.startsWith('HEAD ');
  request.answer(
    head(
      'HTTP/1.1 200 OK',
      'Access-Control-Allow-Origin: *',
      'access-control-expose-headers: X-Upstream',
      'Vary: Accept',
      'Content-Length: 2',
    ),
    isHead ? '' : '{}',
  );
};

describe('with cors.origins, a page of a listed origin', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let door: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script });
    door = await startFrontDoor({
      upstreamUrl: upstream.url,
      config: [
        `cors: { origins: ["https://UI.example:443", "http://localhost:8080"] }`,
        'policy:',
        '  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }',
        '  - { who: [authenticated], repositories: ["team/**"], actions: [pull, push, delete] }',
      ].join('\n'),
    });
  });
  after(async () => {
    await door.stop();
    await upstream.close();
  });

  for (const origin of [page, 'http://localhost:8080']) {
    test(`${origin} has its preflight answered without credentials, and upstream hears nothing`, async () => {
      const before = upstream.requests.length;
      for (const target of ['/v2/', '/v2/team/app/manifests/1', '/v2/_catalog', '/token', '/v1/search']) {
        const response = await exchange(door, preflight(origin, target));
        assert.equal(response.status, 204, target);
        allows(response, origin);
        assert.match(values(response, 'access-control-allow-methods').join(), /\bGET\b.*\bDELETE\b/);
        assert.match(values(response, 'access-control-allow-headers').join(), /\bAuthorization\b/);
        assert.deepEqual(values(response, 'access-control-max-age'), ['600']);
        assert.equal(response.body.length, 0);
      }
      assert.equal(upstream.requests.length, before);
      const line = await door.logged((entry) => entry['reason'] === 'preflight');
      assert.equal(line['status'], 204);
    });
  }

  test('may read answers of every kind, and upstream decides nothing about that', async () => {
    for (const [request, status] of [
      [authorized('GET /v2/', `Origin: ${page}`), 200],
      [authorized('GET /v2/team/app/tags/list', `Origin: ${page}`), 200],
      [authorized('GET /v2/team/app/manifests/1', `Origin: ${page}`), 200],
      [authorized('GET /v2/team/app/manifests/1', `Origin: ${page}`), 200],
      [anonymous('GET /v2/team/app/tags/list', `Origin: ${page}`), 401],
      [anonymous('GET /v2/', `Origin: ${page}`, 'User-Agent: docker/28.0.0'), 401],
      [anonymous('GET /token?service=Registry', `Origin: ${page}`), 200],
      [authorized('GET /nowhere', `Origin: ${page}`), 404],
      [authorized('GET /v2//', `Origin: ${page}`), 400],
      [authorized('PUT /v2/other/app/manifests/1', `Origin: ${page}`, 'Content-Length: 0'), 404],
    ] as const) {
      const response = await exchange(door, request);
      assert.equal(response.status, status, request);
      allows(response, page);
      const exposed = values(response, 'access-control-expose-headers').join();
      assert.match(exposed, /Docker-Content-Digest.*WWW-Authenticate/);
      assert.doesNotMatch(exposed, /X-Upstream/);
    }
    const check = await exchange(door, authorized('GET /v2/', `Origin: ${page}`));
    assert.match(values(check, 'vary').join(', '), /User-Agent/);
  });

  for (const [what, lines] of [
    ['another', ['Origin: https://evil.example']],
    ['one with a listed beginning', [`Origin: ${page}.evil.example`]],
    ['another scheme', ['Origin: http://ui.example']],
    ['another port', ['Origin: https://ui.example:8443']],
    ['null', ['Origin: null']],
    ['two', [`Origin: ${page}`, `Origin: ${page}`]],
  ] as const) {
    test(`of an origin that is not (${what}), gets what it got without the key`, async () => {
      const method = 'Access-Control-Request-Method: GET';
      const asked = await exchange(door, anonymous('OPTIONS /v2/team/app/tags/list', ...lines, method));
      assert.equal(asked.status, 401);
      const read = await exchange(door, authorized('GET /v2/team/app/tags/list', ...lines));
      assert.equal(read.status, 200);
      for (const response of [asked, read]) {
        allows(response, null);
        assert.deepEqual(corsFields(response), []);
      }
    });
  }

  test('sends an OPTIONS that is no preflight in vain', async () => {
    const response = await exchange(door, anonymous('OPTIONS /v2/team/app/tags/list', `Origin: ${page}`));
    assert.equal(response.status, 401);
    allows(response, page);
  });
});

describe('cors.origins', { timeout: 360_000 }, () => {
  test('is empty by default: a preflight is 401, and upstream’s own fields come through', async () => {
    const upstream = await startUpstream({ script });
    const door = await startFrontDoor({ upstreamUrl: upstream.url });
    try {
      const asked = await exchange(door, preflight(page));
      assert.equal(asked.status, 401);
      assert.deepEqual(corsFields(asked), []);
      const read = await exchange(door, authorized('GET /v2/app/tags/list', `Origin: ${page}`));
      assert.deepEqual(values(read, 'access-control-allow-origin'), ['*']);
      assert.deepEqual(values(read, 'vary'), ['Accept']);
    } finally {
      await door.stop();
      await upstream.close();
    }
  });

  test('takes effect with a reload', async () => {
    const upstream = await startUpstream({ script });
    const door = await startFrontDoor({ upstreamUrl: upstream.url, config: 'cors: { origins: [] }\n' });
    try {
      assert.equal((await exchange(door, preflight(page))).status, 401);
      const manifest = authorized('GET /v2/app/manifests/1', `Origin: ${page}`);
      assert.deepEqual(values(await exchange(door, manifest), 'access-control-allow-origin'), ['*']);
      await writeFile(path.join(door.dir, 'tidegate.yml'), `cors: { origins: ["${page}"] }\n`);
      door.process.kill('SIGHUP');
      await door.logged((line) => line.msg === 'reloaded');
      assert.equal((await exchange(door, preflight(page))).status, 204);
      allows(await exchange(door, manifest), page);
    } finally {
      await door.stop();
      await upstream.close();
    }
  });

  test('refuses what is no origin, and what would be every one', async () => {
    const refused = [
      ['"*"', 'would let any web page act'],
      ['"null"', 'would let any web page act'],
      ['"ui.example"', 'is not an origin: write only scheme, host and port'],
      ['"https://ui.example/"', 'is not an origin'],
      ['"https://*.example"', 'is not an origin'],
      ['"ftp://ui.example"', 'is not an origin'],
      ['"https://u@ui.example"', 'is not an origin'],
    ] as const;
    const origins = refused.map(([origin]) => JSON.parse(origin) as string).join();
    const checked = await tidegate(['config', 'check', '--set', `cors.origins=${origins}`], { cwd: '/' });
    assert.equal(checked.code, 1);
    for (const [origin, sentence] of refused)
      assert.ok(checked.stderr.includes(`${origin} ${sentence}`), `${origin}: ${checked.stderr}`);
  });
});
