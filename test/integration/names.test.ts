import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { anonymous, authorized, errorCode, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const digest = `sha256:${'0a'.repeat(32)}`;
const long = 'a'.repeat(256);
const huge = 'a/'.repeat(12_000) + 'a';

/** `METHOD path`, status, code. */
const refused: readonly (readonly [request: string, status: number, code: string])[] = [
  ...[long, huge, 'A', 'a..b', '_a', 'a-', 'a%20b', 'a:b', 'a%E2%80%A8'].flatMap((name) =>
    [
      `GET /v2/${name}/manifests/latest`,
      `HEAD /v2/${name}/manifests/latest`,
      `PUT /v2/${name}/manifests/latest`,
      `DELETE /v2/${name}/manifests/${digest}`,
      `GET /v2/${name}/blobs/${digest}`,
      `HEAD /v2/${name}/blobs/${digest}`,
      `DELETE /v2/${name}/blobs/${digest}`,
      `POST /v2/${name}/blobs/uploads/`,
      `PATCH /v2/${name}/blobs/uploads/0b5e6a2c-91c6-4f0b-8a9e-3e1c1f1b7e55`,
      `GET /v2/${name}/tags/list`,
      `GET /v2/${name}/referrers/${digest}`,
    ].map((request) => [request, 400, 'NAME_INVALID'] as const),
  ),
  ['GET /v2/a/manifests/.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'],
  [`HEAD /v2/a/manifests/${'t'.repeat(129)}`, 404, 'MANIFEST_UNKNOWN'],
  [`GET /v2/a/manifests/sha256:${'a'.repeat(25_000)}`, 404, 'MANIFEST_UNKNOWN'],
  [`PUT /v2/a/manifests/${'t'.repeat(129)}`, 400, 'TAG_INVALID'],
  ['PUT /v2/a/manifests/sha256:', 400, 'TAG_INVALID'],
  [`DELETE /v2/a/manifests/sha256:${'a'.repeat(25_000)}`, 400, 'TAG_INVALID'],
  [`DELETE /v2/a/blobs/sha256:${'a'.repeat(25_000)}`, 400, 'DIGEST_INVALID'],
  [`GET /v2/a/referrers/sha256:${'a'.repeat(249)}`, 400, 'DIGEST_INVALID'],
  [`GET /v1/repositories/${long}/tags`, 400, 'NAME_INVALID'],
  [`PUT /v1/repositories/a/${long}/`, 400, 'NAME_INVALID'],
  [`GET /v1/repositories/a/tags/${long}`, 400, 'TAG_INVALID'],
  [`GET /v1/images/${long}/json`, 400, 'NAME_INVALID'],
  [`PUT /v1/images/${long}/layer`, 400, 'NAME_INVALID'],
];

const policy = 'policy:\n  - { who: [anonymous, authenticated], repositories: ["**"], actions: [pull] }\n';

for (const [what, config] of [
  ['without a policy', undefined],
  ['with a policy that lets anybody pull', policy],
] as const) {
  describe(`what is no name, ${what}`, { timeout: 240_000 }, () => {
    let upstream: ScriptedUpstream;
    let frontDoor: FrontDoor;
    before(async () => {
      upstream = await startUpstream({ script: answerOk });
      frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        ...(config === undefined ? {} : { config }),
      });
    });
    after(async () => {
      await frontDoor.stop();
      await upstream.close();
    });

    for (const [request, status, code] of refused) {
      test(`${request.slice(0, 80)} (${request.length}): ${status}, never asked of upstream`, async () => {
        const before = upstream.requests.length;
        const lines = /^(?:GET|HEAD|DELETE)/.test(request) ? [] : ['Content-Length: 0'];
        const stranger = await exchange(frontDoor, anonymous(request, ...lines));
        assert.equal(stranger.status, 401);
        const known = await exchange(frontDoor, authorized(request, ...lines));
        assert.equal(known.status, status);
        if (!request.startsWith('HEAD')) assert.equal(errorCode(known), code);
        assert.equal(upstream.requests.length, before);
      });
    }

    test('the longest names pass', async () => {
      const name = 'a'.repeat(255);
      for (const path of [`${name}/manifests/${'t'.repeat(128)}`, `${name}/tags/list`])
        assert.equal((await exchange(frontDoor, authorized(`GET /v2/${path}`))).status, 200);
    });
  });
}

describe('the source of a mount that is no name', { timeout: 240_000 }, () => {
  test('is left out, as registries ignore it', async (t) => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    t.after(async () => {
      await frontDoor.stop();
      await upstream.close();
    });
    const path = '/v2/a/blobs/uploads/';
    for (const [query, forwarded] of [
      [`?mount=${digest}&from=${huge}`, ''],
      [`?x=1&from=A&mount=${digest}`, '?x=1'],
      [`?mount=${digest}&from=b&from=${long}`, ''],
      [`?mount=${digest}&from=b%2Fc`, `?mount=${digest}&from=b%2Fc`],
      [`?mount=${digest}`, `?mount=${digest}`],
    ] as const) {
      await exchange(frontDoor, authorized(`POST ${path}${query}`, 'Content-Length: 0'));
      assert.equal(upstream.requests.at(-1)?.startLine, `POST ${path}${forwarded} HTTP/1.1`);
    }
  });
});
