import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { clientHost, connectClient, errorCode, exchange } from '../support/raw-client.ts';
import { isRefusal, replaceConfig, sighup } from '../support/reload.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** bcrypt of "x" at cost 4. */
const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const htpasswd = ['alice', 'builder1', 'bob'].map((name) => `${name}:${hash}\n`).join('');
const config = `
groups: { ci: [builder1, builder2], admins: [alice] }
policy:
  - { who: [group:admins], repositories: ["**"], actions: [pull, push, delete] }
  - { who: [group:ci], repositories: ["team-a/**", "base/*"], actions: [pull, push] }
  - { who: [anonymous], repositories: ["public/**"], actions: [pull] }
  - { who: [user:\${user}], repositories: ["home/\${user}/**"], actions: [pull, push] }
  - { who: [user:bob], repositories: ["secret/**"], actions: [] }
  - { who: [authenticated], repositories: ["**"], actions: [pull] }
`;
const digest = `sha256:${'0'.repeat(64)}`;

type Who = 'alice' | 'builder1' | 'bob' | null;

/** Who, what, and the answer: 200 is upstream's. */
const requests: readonly (readonly [who: Who, request: string, status: number, code?: string])[] = [
  ['alice', `DELETE /v2/team-a/app/manifests/${digest}`, 200],
  ['builder1', 'PUT /v2/team-a/app/manifests/latest', 200],
  ['builder1', 'PUT /v2/base/debian/manifests/latest', 200],
  ['builder1', 'PUT /v2/base/debian/slim/manifests/latest', 403, 'DENIED'],
  ['builder1', `DELETE /v2/team-a/app/manifests/${digest}`, 403, 'DENIED'],
  ['builder1', 'GET /v2/other/app/manifests/latest', 200],
  ['bob', 'PUT /v2/team-a/app/manifests/latest', 403, 'DENIED'],
  ['bob', 'POST /v2/team-a/app/blobs/uploads/', 403, 'DENIED'],
  ['bob', 'POST /v2/home/bob/app/blobs/uploads/', 200],
  ['bob', 'POST /v2/home/alice/app/blobs/uploads/', 403, 'DENIED'],
  ['bob', 'GET /v2/secret/app/manifests/latest', 404, 'NAME_UNKNOWN'],
  ['bob', 'PUT /v2/secret/app/manifests/latest', 404, 'NAME_UNKNOWN'],
  ['bob', `GET /v2/secret/app/blobs/${digest}`, 404, 'NAME_UNKNOWN'],
  ['bob', 'GET /v2/secret/app/tags/list', 404, 'NAME_UNKNOWN'],
  ['bob', `GET /v2/secret/app/referrers/${digest}`, 404, 'NAME_UNKNOWN'],
  ['bob', 'GET /v2/team-a/app/tags/list', 200],
  ['bob', 'GET /v2/team-a/app/unheard/of', 403, 'DENIED'],
  ['bob', 'GET /v2/Team-A/app/tags/list', 400, 'NAME_INVALID'],
  ['bob', 'GET /v1/images/0123/json', 403, 'DENIED'],
  ['alice', 'GET /v1/images/0123/json', 200],
  ['bob', 'GET /', 200],
  ['bob', 'GET /elsewhere', 404, 'NOT_FOUND'],
  [null, 'GET /v2/public/app/manifests/latest', 200],
  [null, `GET /v2/public/app/blobs/${digest}`, 200],
  [null, 'PUT /v2/public/app/manifests/latest', 401, 'UNAUTHORIZED'],
  [null, 'GET /v2/team-a/app/manifests/latest', 401, 'UNAUTHORIZED'],
  [null, 'GET /v2/nothing/of/the/kind', 401, 'UNAUTHORIZED'],
  [null, 'GET /', 401, 'UNAUTHORIZED'],
  [null, 'GET /elsewhere', 401, 'UNAUTHORIZED'],
];

describe('a policy', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, htpasswd, config });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  const ask = (who: Who, request: string, ...lines: string[]) => {
    const credentials =
      who === null ? [] : [`Authorization: Basic ${Buffer.from(`${who}:x`).toString('base64')}`];
    const length = /^(?:GET|HEAD)/.test(request) ? [] : ['Content-Length: 0'];
    return exchange(
      frontDoor,
      head(`${request} HTTP/1.1`, `Host: ${clientHost}`, ...credentials, ...length, ...lines),
    );
  };

  for (const [who, request, status, code] of requests) {
    test(`${who ?? 'nobody'}: ${request} is ${status}`, async () => {
      const seenBefore = upstream.requests.length;
      const response = await ask(who, request);
      assert.equal(response.status, status);
      assert.equal(upstream.requests.length > seenBefore, status === 200);
      if (code !== undefined) assert.equal(errorCode(response), code);
      assert.equal(values(response, 'www-authenticate').length, status === 401 ? 1 : 0);
    });
  }

  test('says who may not do what, and by which rule', async () => {
    const response = await ask('bob', 'PUT /v2/team-a/app/manifests/latest');
    assert.match(response.body.toString(), /bob may pull but not push team-a\/app \(rule 6\)\./);
  });

  for (const [query, forwarded] of [
    [`?mount=${digest}&from=team-a/app`, `?mount=${digest}&from=team-a/app`],
    [`?from=team-a%2Fapp&mount=${digest}`, `?from=team-a%2Fapp&mount=${digest}`],
    [`?mount=${digest}&from=secret/app`, ''],
    [`?x=1&mount=${digest}&from=secret/app&y=2`, '?x=1&y=2'],
    [`?mount=${digest}`, ''],
    [`??from=team-a/app&mount=${digest}`, '??from=team-a/app'],
    [`?mount=${digest}&from=team-a/app&from=secret/app`, ''],
    [`?mount=${digest}&from=team-a/app;from=secret/app`, ''],
    [`?m%6Funt=${digest}&%66rom=secret%2Fapp`, ''],
    [`?digest=${digest}`, `?digest=${digest}`],
  ] as const) {
    test(`a mount asks pull on its source: ${query.replaceAll(digest, 'D')}`, async () => {
      const form = 'Content-Type: application/x-www-form-urlencoded';
      assert.equal((await ask('bob', `POST /v2/home/bob/app/blobs/uploads/${query}`, form)).status, 200);
      const last = upstream.requests.at(-1);
      assert.ok(last);
      assert.equal(last.startLine, `POST /v2/home/bob/app/blobs/uploads/${forwarded} HTTP/1.1`);
      assert.deepEqual(values(last, 'content-type'), []);
    });
  }

  test('what was cached for one is not given to another', async () => {
    assert.equal((await ask('alice', 'GET /v2/secret/app/manifests/cached')).status, 200);
    assert.equal((await ask('bob', 'GET /v2/secret/app/manifests/cached')).status, 404);
  });

  test('of now decides about what waited behind another request', async () => {
    const waiting = await startUpstream();
    const door = await startFrontDoor({ upstreamUrl: waiting.url, htpasswd, config });
    const client = await connectClient(door);
    try {
      const as = (request: string) => {
        const credentials = `Basic ${Buffer.from('bob:x').toString('base64')}`;
        return head(`${request} HTTP/1.1`, `Host: ${clientHost}`, `Authorization: ${credentials}`);
      };
      client.send(as('GET /v2/team-a/app/tags/list'), as('GET /v2/team-a/app/manifests/latest'));
      const first = await waiting.next();
      await replaceConfig(door, 'policy: [{ who: [user:alice], repositories: ["**"], actions: [pull] }]\n');
      assert.equal((await sighup(door)).msg, 'reloaded');
      first.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      assert.equal((await client.response()).status, 200);
      assert.equal(errorCode(await client.response()), 'NAME_UNKNOWN');
      assert.equal(waiting.requests.length, 1);
    } finally {
      client.leave();
      await door.stop();
      await waiting.close();
    }
  });

  test('is reloaded, and serves on where the new one is invalid', async () => {
    const push = 'PUT /v2/base/debian/manifests/latest';
    assert.equal((await ask('builder1', push)).status, 200);
    await replaceConfig(frontDoor, config.replace('group:ci]', 'group:cis]'));
    assert.ok(isRefusal(await sighup(frontDoor)));
    assert.equal((await ask('builder1', push)).status, 200);
    assert.equal((await ask('bob', push)).status, 403);
    await replaceConfig(frontDoor, config.replace('ci: [builder1, builder2]', 'ci: [bob]'));
    assert.equal((await sighup(frontDoor)).msg, 'reloaded');
    assert.equal((await ask('builder1', push)).status, 403);
    assert.equal((await ask('bob', push)).status, 200);
    await replaceConfig(frontDoor, config.replace(/policy:[^]*/, 'policy:'));
    assert.ok(isRefusal(await sighup(frontDoor)), 'an empty policy is no policy that allows everything');
    assert.equal((await ask('builder1', push)).status, 403);
  });
});
