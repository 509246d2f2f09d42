import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { startOwnApp } from '../support/own-app.ts';
import { authorized, connectClient, errorCode, exchange } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';
import { dataPath, sha256 } from '../support/stored-blobs.ts';

const mediaType = 'application/vnd.oci.image.index.v1+json';
const typed = { 'Content-Type': mediaType };
/** An index of nothing, so that it needs no blobs. */
const createManifest = () => {
  const unique = randomBytes(8).toString('hex');
  const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [], annotations: { unique } });
  return { body, digest: sha256(Buffer.from(body)) };
};
type Manifest = ReturnType<typeof createManifest>;

describe(
  'a manifest whose file was taken is there again after a push, before a registry that remembers it',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: Registry;
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
    });
    after(() => registry.stop());

    const withDoor = async (
      set: readonly string[],
      act: (client: CacheClient, frontDoor: FrontDoor) => Promise<void>,
    ): Promise<void> => {
      const frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set });
      const client = createCacheClient(frontDoor);
      try {
        await act(client, frontDoor);
      } finally {
        client.close();
        await frontDoor.stop();
      }
    };
    const push = (client: CacheClient, { body }: Manifest, reference = 'v1') =>
      client.ask('PUT', `/v2/app/manifests/${reference}`, { body, headers: typed });
    /** Pushes it, and takes it as a clean-up does: its link by the API, then its data. */
    const pushAndTake = async (client: CacheClient): Promise<Manifest> => {
      const manifest = createManifest();
      assert.equal((await push(client, manifest)).status, 201);
      assert.equal((await client.ask('DELETE', `/v2/app/manifests/${manifest.digest}`)).status, 202);
      await rm(path.dirname(path.join(registry.storageDir, dataPath(manifest.digest))), { recursive: true });
      return manifest;
    };
    const pull = async (client: CacheClient, reference: string) => {
      const { status, body } = await client.ask('GET', `/v2/app/manifests/${reference}`, {
        headers: { Accept: mediaType },
      });
      return status === 200 ? body.toString() : status;
    };

    test('without the guard such a push is acknowledged and lost', () =>
      withDoor([], async (client) => {
        const manifest = await pushAndTake(client);
        assert.equal((await push(client, manifest)).status, 201);
        assert.equal(await pull(client, 'v1'), 404);
      }));

    test('by tag, by digest, with further tags, in chunks, after a 100, and under an immutable tag; in each worker', async () => {
      await mkdir(path.join(registry.storageDir, 'tidegate-clean'), { recursive: true });
      const storage = `upstream.storage=${registry.storageDir}`;
      await withDoor([storage, 'workers=2', 'immutableTags=[app:fixed*]'], async (client, frontDoor) => {
        const byTag = await pushAndTake(client);
        assert.equal((await push(client, byTag)).status, 201);
        assert.equal(await pull(client, 'v1'), byTag.body);

        const byDigest = await pushAndTake(client);
        assert.equal((await push(client, byDigest, byDigest.digest)).status, 201);
        assert.equal(await pull(client, byDigest.digest), byDigest.body);

        const withTags = await pushAndTake(client);
        assert.equal((await push(client, withTags, `${withTags.digest}?tag=more`)).status, 201);
        assert.equal(await pull(client, withTags.digest), withTags.body);

        const immutable = await pushAndTake(client);
        assert.equal((await push(client, immutable, 'fixed-1')).status, 201);
        assert.equal(await pull(client, 'fixed-1'), immutable.body);

        const inChunks = await pushAndTake(client);
        const { body } = inChunks;
        const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
        const put = (...lines: string[]) =>
          authorized('PUT /v2/app/manifests/v1', `Content-Type: ${mediaType}`, ...lines);
        const chunked = await exchange(
          frontDoor,
          put('Transfer-Encoding: chunked'),
          ...[chunk(body.slice(0, 20)), chunk(body.slice(20)), '0\r\n\r\n'],
        );
        assert.equal(chunked.status, 201);
        assert.equal(await pull(client, 'v1'), body);

        const expecting = await pushAndTake(client);
        const raw = await connectClient(frontDoor);
        raw.send(put('Expect: 100-continue', `Content-Length: ${expecting.body.length}`));
        assert.equal((await raw.responseHead()).status, 100);
        raw.send(expecting.body);
        assert.equal((await raw.response()).status, 201);
        raw.leave();
        assert.equal(await pull(client, 'v1'), expecting.body);
      });
    });
  },
);

describe('a push of a manifest that may have been taken', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let storage: string;
  before(async () => {
    upstream = await startUpstream();
    storage = await mkdtemp(path.join(tmpdir(), 'tidegate-storage-'));
    await mkdir(path.join(storage, 'tidegate-clean'));
  });
  after(async () => {
    await upstream.close();
    await rm(storage, { recursive: true });
  });
  const start = (...set: string[]) =>
    startOwnApp(upstream.url, [`upstream.storage=${storage}`, ...set, 'cache.driver=off']);
  const put = ({ body }: Manifest) =>
    authorized('PUT /v2/app/manifests/v1', `Content-Type: ${mediaType}`, `Content-Length: ${body.length}`);
  /** The beginning of the upload. The push may be there before: its head goes with the body, if that is here already. */
  const nextSession = async () => {
    const first = await upstream.next();
    const isPush = first.startLine.startsWith('PUT ');
    const session = isPush ? await upstream.next() : first;
    assert.match(session.startLine, /^POST \/v2\/app\/blobs\/uploads\/ /);
    return { session, push: isPush ? first : null };
  };

  test('is written as a blob before the registry has the last of it', async () => {
    const door = await start();
    const manifest = createManifest();
    const answer = exchange(door, put(manifest), manifest.body);
    const { push: early, session } = await nextSession();
    const received = early?.body();
    session.answer(
      head(
        'HTTP/1.1 202 Accepted',
        'Location: http://elsewhere:5000/v2/app/blobs/uploads/u?_state=s%3D',
        'Content-Length: 0',
      ),
    );
    const upload = await upstream.next();
    assert.equal(
      upload.startLine,
      `PUT /v2/app/blobs/uploads/u?_state=s%3D&digest=${manifest.digest} HTTP/1.1`,
    );
    assert.equal((await upload.body()).body.toString(), manifest.body);
    let isWhole = false;
    void received?.then(() => (isWhole = true));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isWhole, false);
    upload.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    const push = early ?? (await upstream.next());
    assert.match(push.startLine, /^PUT \/v2\/app\/manifests\/v1 /);
    assert.equal((await (received ?? push.body())).body.toString(), manifest.body);
    push.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    assert.equal((await answer).status, 201);
    await door.stop();
  });

  test('is refused with 503 if the registry does not take that blob, or no memory is left for it', async () => {
    const manifest = createManifest();
    const refused = await start();
    const answer = exchange(refused, put(manifest), manifest.body);
    const { push, session } = await nextSession();
    session.answer(head('HTTP/1.1 405 Method Not Allowed', 'Content-Length: 0'));
    const { status, ...rest } = await answer;
    assert.deepEqual([status, errorCode(rest)], [503, 'UNAVAILABLE']);
    await push?.closed;
    await refused.stop();

    const full = await start('limits.pushedManifestBytes=0');
    const question = { kind: 'evidence', repositories: [], digests: [] } as const;
    const before = await full.perform(question);
    const seen = upstream.requests.length;
    const outcome = exchange(full, put(manifest), manifest.body);
    assert.equal((await outcome).status, 503);
    if (upstream.requests.length > seen) await upstream.next();
    await upstream.idle();
    assert.ok(((await full.perform(question))?.since ?? 0) > (before?.since ?? 0));
    await full.stop();
  });

  test('is not written as a blob once it is known that it was not taken', async () => {
    const door = await start();
    const [taken, other] = [createManifest(), createManifest()];
    await door.perform({ kind: 'taken', digests: [taken.digest], isAll: true });
    const answer = exchange(door, put(other), other.body);
    const push = await upstream.next();
    await push.body();
    push.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    assert.equal((await answer).status, 201);
    const guarded = exchange(door, put(taken), taken.body);
    const { session } = await nextSession();
    session.answer(head('HTTP/1.1 500 Internal Server Error', 'Content-Length: 0'));
    assert.equal((await guarded).status, 503);
    await door.stop();
  });

  test('ends at the registry when its client leaves', async () => {
    const door = await start();
    const small = { body: '{}', digest: '' };
    const raw = await connectClient(door);
    raw.send(put(small), small.body);
    const { push, session } = await nextSession();
    raw.leave();
    await Promise.all([push?.closed, session.closed]);
    await upstream.idle();
    await door.stop();
  });
});
