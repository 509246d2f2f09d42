import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  addHubImage,
  addHubIndex,
  hubUser,
  startHub,
  startMirror,
  types,
  type Hub,
  type HubImage,
} from '../../support/hub.ts';
import type { HubMood } from '../../support/hub-server.ts';
import { until } from '../../support/redis.ts';
import type { Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const well: HubMood = { away: false, silent: false, refusal: null, refuses: 'all', lie: null };
/** How a source can fail that answers at once. */
const failures: readonly [what: string, mood: Partial<HubMood>][] = [
  ['is away', { away: true }],
  ['says 429', { refusal: 429 }],
  ['says 429 to all but token requests', { refusal: 429, refuses: 'content' }],
  ['gives no token', { refusal: 401, refuses: 'token' }],
  ['says 401', { refusal: 401, refuses: 'content' }],
  ['says 500', { refusal: 500 }],
];

/**
 * What a registry in proxy mode answers: docs/design/mirrors.md builds on it. Tidegate has no part in this. Tried with
 * docker-registry 2.8.2 and distribution 3.0.0.
 */
describe('a registry in proxy mode', { skip: unlessInstalled('docker-registry') }, () => {
  let hub: Hub;
  let mirror: Registry;
  let kept: HubImage;
  before(async () => {
    hub = await startHub();
    mirror = await startMirror(hub);
    kept = await pullAll(await addHubImage(hub, 'library/kept', '1'));
  });
  after(async () => {
    await mirror.stop();
    await hub.stop();
  });

  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`${mirror.url}/v2/${path}`, {
      method,
      headers: { Accept: [types.manifest, types.list].join(', ') },
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const status = async (path: string, method = 'GET') => (await ask(path, method)).status;
  const pullAll = async (image: HubImage): Promise<HubImage> => {
    assert.equal(await status(`${image.repository}/manifests/1`), 200);
    for (const digest of [image.configDigest, ...image.layerDigests]) {
      assert.equal(await status(`${image.repository}/blobs/${digest}`), 200);
      // It sends a blob and fetches it for itself apart from each other.
      const link = `repositories/${image.repository}/_layers/${digest.replace(':', '/')}/link`;
      await until(`${digest} is kept`, () =>
        Promise.resolve(existsSync(path.join(mirror.storageDir, 'docker/registry/v2', link))),
      );
    }
    return image;
  };

  it('asks the source at every tag, and for nothing that it keeps under a digest', async () => {
    await hub.requests();
    assert.equal(await status('library/kept/manifests/1'), 200);
    const [token, head, ...others] = await hub.requests();
    assert.match(token?.url ?? '', /^\/token\?/);
    assert.deepEqual([head?.method, head?.url], ['HEAD', '/v2/library/kept/manifests/1']);
    assert.deepEqual(others, []);
    assert.equal(await status(`library/kept/manifests/${kept.digest}`), 200);
    assert.equal(await status(`library/kept/blobs/${kept.configDigest}`), 200);
    assert.deepEqual(await hub.requests(), []);
  });

  it('sends its credentials to the token endpoint, and pulls as that user', async () => {
    const known = await startMirror(hub, { credentials: hubUser });
    await hub.requests();
    const headers = { Accept: types.manifest };
    const pulled = await fetch(`${known.url}/v2/library/kept/manifests/1`, { headers });
    await known.stop();
    assert.equal(pulled.status, 200);
    assert.deepEqual(new Set((await hub.requests()).map(({ name }) => name)), new Set([hubUser.username]));
  });

  it('gives an index, its images, and tags; no referrers, and in its catalog what it keeps', async () => {
    const index = await addHubIndex(hub, 'library/index', '1');
    const given = await ask('library/index/manifests/1');
    assert.deepEqual(
      [given.status, given.headers.get('content-type'), given.headers.get('docker-content-digest')],
      [200, types.list, index.digest],
    );
    for (const { digest } of index.images)
      assert.equal(await status(`library/index/manifests/${digest}`), 200);
    assert.deepEqual(JSON.parse((await ask('library/kept/tags/list')).text), {
      name: 'library/kept',
      tags: ['1'],
    });
    assert.equal(await status(`library/kept/referrers/${kept.digest}`), 404);
    await addHubImage(hub, 'library/unasked', '1');
    const { repositories } = JSON.parse((await ask('_catalog')).text) as { repositories: string[] };
    assert.ok(repositories.includes('library/kept') && !repositories.includes('library/unasked'));
  });

  it('takes no writes', async () => {
    for (const [path, method] of [
      ['library/kept/blobs/uploads/', 'POST'],
      [`library/kept/blobs/uploads/?mount=${kept.configDigest}&from=library/index`, 'POST'],
      [`library/kept/manifests/${kept.digest}`, 'DELETE'],
      [`library/kept/blobs/${kept.configDigest}`, 'DELETE'],
    ] as const)
      assert.equal(await status(path, method), 405, `${method} ${path}`);
  });

  it('answers 500 for a digest that the source does not know, where it says 404 of a tag and a blob', async () => {
    const nowhere = `sha256:${'0'.repeat(64)}`;
    assert.equal(await status('library/kept/manifests/none'), 404);
    assert.equal(await status(`library/kept/blobs/${nowhere}`), 404);
    const { status: code, text } = await ask(`library/kept/manifests/${nowhere}`);
    assert.equal(code, 500);
    assert.match(text, /manifest.unknown/i);
  });

  for (const [i, [what, mood]] of failures.entries()) {
    it(`whose source ${what}: gives what it keeps; of the rest, 404 for tags, 500 for digests`, async (t) => {
      const other = await addHubImage(hub, `library/other${i}`, '1');
      await hub.be(mood);
      t.after(() => hub.be(well));
      for (const method of ['GET', 'HEAD']) {
        const statuses = (paths: string[]) => Promise.all(paths.map((path) => status(path, method)));
        const { digest, layerDigests } = kept;
        const present = ['manifests/1', `manifests/${digest}`, `blobs/${layerDigests[0]}`];
        assert.deepEqual(await statuses(present.map((path) => `library/kept/${path}`)), [200, 200, 200]);
        const absent = ['manifests/1', `manifests/${other.digest}`, `blobs/${other.layerDigests[0]}`];
        assert.deepEqual(
          await statuses(absent.map((path) => `${other.repository}/${path}`)),
          [404, 500, 500],
        );
      }
      assert.equal(await status('library/kept/tags/list'), 200);
      assert.equal(await status(`${other.repository}/tags/list`), 404);
      assert.equal(await status(''), 200);
      await hub.be(well);
      await pullAll(other);
    });
  }

  it('whose source refuses pulls alone, as Docker Hub does: 500 with the reason in its detail', async (t) => {
    const other = await addHubImage(hub, 'library/limited', '1');
    await hub.be({ refusal: 429, refuses: 'pulls' });
    t.after(() => hub.be(well));
    const { status: code, headers, text } = await ask('library/limited/manifests/1');
    assert.deepEqual([code, headers.get('retry-after')], [500, null]);
    assert.match(text, /toomanyrequests/i);
    assert.equal(await status('library/kept/manifests/1'), 200);
    assert.equal(await status(`library/limited/blobs/${other.configDigest}`), 200);
  });

  it('whose source is silent: gives what it keeps under a digest, and nothing under a tag', async (t) => {
    await hub.be({ silent: true });
    t.after(() => hub.be(well));
    let isAnswered = false;
    const byTag = status('library/kept/manifests/1').finally(() => (isAnswered = true));
    assert.equal(await status(`library/kept/manifests/${kept.digest}`), 200);
    assert.equal(await status(`library/kept/blobs/${kept.layerDigests[0]}`), 200);
    assert.equal(isAnswered, false);
    await hub.be(well);
    assert.equal(await byTag, 200);
  });

  it('whose source lies: passes the lie on under the right digest, and keeps none of it', async (t) => {
    const other = await addHubImage(hub, 'library/lied', '1');
    const layer = `library/lied/blobs/${other.layerDigests[0]}`;
    t.after(() => hub.be(well));
    await hub.be({ lie: 'bytes' });
    const lied = await ask('library/lied/manifests/1');
    assert.deepEqual([lied.status, lied.headers.get('docker-content-digest')], [200, other.digest]);
    assert.match(lied.text, /,"schemaVersion":2}$/);
    assert.equal(await status(layer), 200);
    await hub.be({ lie: 'type' });
    assert.equal(
      (await ask(`library/lied/blobs/${other.configDigest}`)).headers.get('content-type'),
      'text/html',
    );
    await hub.be({ lie: 'half' });
    assert.equal(await status('library/lied/manifests/1'), 500);
    await hub.be(well);
    const told = await ask('library/lied/manifests/1');
    assert.match(told.text, /^{"schemaVersion":2,/);
    assert.equal((await ask(layer)).headers.get('content-type'), 'application/octet-stream');
  });

  it('does not start while its source is away', async (t) => {
    await hub.be({ away: true });
    t.after(() => hub.be(well));
    await assert.rejects(startMirror(hub), /connection refused/);
  });
});
