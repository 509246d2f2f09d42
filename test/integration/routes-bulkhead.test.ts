import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { authorized, connectClient, exchange, type Response } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const digest = `sha256:${'a'.repeat(64)}`;

/** What one client's requests at a route's registry take from those of others. */
describe('a route and its slow requests', { timeout: 240_000 }, () => {
  let own: ScriptedUpstream;
  let team: ScriptedUpstream;
  let mirror: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    own = await startUpstream();
    team = await startUpstream({
      script: async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 202 Accepted', 'Content-Length: 0'));
      },
    });
    mirror = await startUpstream({
      script: (request) => {
        if (!request.startLine.includes('/lacks/'))
          request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      set: ['limits.routeRequests=2', 'limits.routeFailures=2', 'limits.routeSourceTimeout=200ms'],
      config: `
routes:
  - { name: team, repositories: ["team/**"], stripPrefix: team, upstream: { url: "${team.url}" } }
  - { name: hub, repositories: ["hub/**"], stripPrefix: hub, readOnly: true, upstream: { url: "${mirror.url}" } }
`,
    });
  });
  after(async () => {
    await frontDoor.stop();
    for (const each of [own, team, mirror]) await each.close();
  });
  const get = (target: string): Promise<Response> => exchange(frontDoor, authorized(`GET /v2/${target}`));

  test('uploads, which wait for their clients, take no room from others', async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => connectClient(frontDoor)));
    for (const client of clients)
      client.send(authorized('PATCH /v2/team/app/blobs/uploads/1', 'Content-Length: 10'), 'half');
    while (team.requests.length < clients.length) await new Promise(setImmediate);
    assert.equal((await get(`team/app/blobs/${digest}`)).status, 202);
    for (const client of clients) {
      client.send('a body');
      assert.equal((await client.response()).status, 202);
      client.leave();
    }
  });

  for (const what of ['blobs', 'manifests'])
    test(`a silent source is no failure of the mirror, which serves the ${what} that it has`, async () => {
      for (let i = 0; i < 3; i += 1) {
        const lacking = await get(`hub/lacks/${what}/${digest}`);
        assert.equal(lacking.status, 504);
        assert.match(lacking.body.toString(), /waits for what it mirrors/);
      }
      assert.equal((await get(`hub/has/blobs/${digest}`)).status, 200);
    });
});

test(
  'what finds no room to be held whole is 503, and no fault of its registry',
  { timeout: 240_000 },
  async () => {
    const tags = JSON.stringify({
      name: 'app',
      tags: Array.from({ length: 200 }, (_, i) => `${i}`.padEnd(100_000, 'x')),
    });
    const manifest = JSON.stringify({ annotations: { long: 'x'.repeat(17 * 1024 * 1024) } });
    const registry = await startUpstream({
      script: (request) => {
        const body = request.startLine.includes('/tags/list') ? tags : manifest;
        request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`), body);
      },
    });
    const frontDoor = await startFrontDoor({
      upstreamUrl: 'http://127.0.0.1:9',
      set: ['limits.wholeAnswerBytes=16MiB', 'limits.manifestBytes=32MiB', 'limits.tagListBytes=32MiB'],
      config: `
routes:
  - { name: hub, repositories: ["hub/**"], stripPrefix: hub, readOnly: true, upstream: { url: "${registry.url}" } }
`,
    });
    try {
      for (const target of ['tags/list', 'manifests/1']) {
        const response = await exchange(frontDoor, authorized(`GET /v2/hub/app/${target}`));
        assert.equal(response.status, 503, response.body.toString());
      }
    } finally {
      await frontDoor.stop();
      await registry.close();
    }
  },
);
