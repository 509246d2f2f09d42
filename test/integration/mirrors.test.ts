import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { values } from '../support/http-message.ts';
import { addHubImage, startHub, startMirror, types, type Hub, type HubImage } from '../support/hub.ts';
import type { HubMood } from '../support/hub-server.ts';
import { authorized, errorCode, exchange, type Response } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const well: HubMood = { away: false, silent: false, refusal: null, refuses: 'all', lie: null };
const accept = `Accept: ${types.manifest}, ${types.list}`;

/** A real registry in proxy mode, before one that plays Docker Hub, behind a route. */
describe('a mirror and its source', { skip: unlessInstalled('docker-registry'), timeout: 480_000 }, () => {
  let hub: Hub;
  let mirror: Registry;
  let own: Registry;
  let frontDoor: FrontDoor;
  let kept: HubImage;

  before(async () => {
    hub = await startHub();
    mirror = await startMirror(hub);
    own = await startRegistry();
    kept = await addHubImage(hub, 'library/kept', '1');
    frontDoor = await startFrontDoor({
      upstreamUrl: own.url,
      set: ['limits.routeSourceTimeout=500ms', 'limits.routeFailures=1000', 'cache.driver=off'],
      config: `
routes:
  - name: hub
    repositories: ["hub/**"]
    stripPrefix: hub
    namespaces: [docker.io]
    readOnly: true
    upstream: { url: "${mirror.url}", storage: ${mirror.storageDir} }
`,
    });
    for (const target of [
      'manifests/1',
      `manifests/${kept.digest}`,
      ...[kept.configDigest, ...kept.layerDigests].map((digest) => `blobs/${digest}`),
    ])
      assert.equal((await get(`library/kept/${target}`)).status, 200);
  });
  after(async () => {
    await frontDoor.stop();
    await mirror.stop();
    await own.stop();
    await hub.stop();
  });
  afterEach(() => hub.be(well));

  const get = (what: string, method = 'GET', ...fields: string[]): Promise<Response> =>
    exchange(frontDoor, authorized(`${method} /v2/hub/${what}`, accept, ...fields));
  const sentence = (response: Response): string => {
    const { errors } = JSON.parse(response.body.toString()) as { errors: { message: string }[] };
    return errors[0]?.message ?? '';
  };

  const moods: readonly [name: string, mood: Partial<HubMood>, status: number, says: RegExp][] = [
    ['is away', { away: true }, 502, /^The mirror of docker\.io \(route hub\) could not get it/],
    ['limits pulls', { refusal: 429 }, 429, /limits pulls/],
    ['wants credentials', { refusal: 401 }, 404, /says only to others whether it exists/],
    ['fails', { refusal: 500 }, 502, /could not get it/],
    ['is silent', { silent: true }, 504, /did not answer within 500 ms/],
  ];
  for (const [index, [name, mood, status, says]] of moods.entries())
    test(`its source ${name}: it serves what it has, and says why it has not the rest`, async () => {
      const fresh = await addHubImage(hub, `library/fresh${index}`, '1');
      await hub.be(mood);
      for (const target of ['manifests/1', `manifests/${kept.digest}`, `blobs/${kept.layerDigests[0]}`])
        for (const method of ['GET', 'HEAD']) {
          const response = await get(`library/kept/${target}`, method, 'Cache-Control: no-cache');
          assert.equal(response.status, 200, `${method} ${target} ${response.body.toString()}`);
          assert.deepEqual(values(response, 'docker-content-digest'), [
            target.includes('manifests') ? kept.digest : kept.layerDigests[0],
          ]);
        }
      const byTag = await get(`library/fresh${index}/manifests/1`);
      assert.equal(byTag.status, status, byTag.body.toString());
      assert.match(sentence(byTag), says);
      assert.equal((await get(`library/fresh${index}/manifests/1`, 'HEAD')).status, status);
      if (mood.silent === true) return;
      const byDigest = await get(`library/fresh${index}/manifests/${fresh.digest}`);
      assert.equal(byDigest.status, status, byDigest.body.toString());
      for (const answer of [byTag, byDigest])
        assert.ok(
          !answer.body.toString().replaceAll('hub/library', '').includes('library'),
          answer.body.toString(),
        );
    });

  test('its source has no such thing', async () => {
    for (const target of ['manifests/2', `manifests/sha256:${'1'.repeat(64)}`]) {
      const response = await get(`library/kept/${target}`);
      assert.equal(response.status, 404, response.body.toString());
      assert.equal(errorCode(response), 'MANIFEST_UNKNOWN');
    }
    const blob = await get(`library/kept/blobs/sha256:${'1'.repeat(64)}`);
    assert.equal(blob.status, 404);
  });

  test('its source lies about a manifest', async () => {
    const image = await addHubImage(hub, 'library/lie', '1');
    await hub.be({ lie: 'bytes' });
    for (const target of ['manifests/1', `manifests/${image.digest}`]) {
      const response = await get(`library/lie/${target}`);
      assert.equal(response.status, 502);
      assert.match(sentence(response), /other bytes than those of the digest/);
    }
    await hub.be(well);
    assert.equal((await get('library/lie/manifests/1')).status, 200);
  });

  test('a blob is no page for a browser', async () => {
    const image = await addHubImage(hub, 'library/page', '1');
    await hub.be({ lie: 'type' });
    const response = await get(`library/page/blobs/${image.layerDigests[0]}`);
    assert.deepEqual(values(response, 'content-type'), ['application/octet-stream']);
    assert.deepEqual(values(response, 'x-content-type-options'), ['nosniff']);
  });

  test('nobody else notices', async () => {
    await hub.be({ silent: true });
    const waiting = Array.from({ length: 50 }, (_, i) => get(`library/other${i}/manifests/1`));
    const started = await exchange(frontDoor, authorized('POST /v2/app/blobs/uploads/', 'Content-Length: 0'));
    assert.equal(started.status, 202);
    for (const response of await Promise.all(waiting)) assert.equal(response.status, 504);
  });
});
