import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createRepositoryActivity } from '../../src/locks/repository-activity.ts';
import { createRepositoryLocks } from '../../src/locks/repository-locks.ts';
import { createCacheClient, type Answer, type CacheClient } from '../support/cache-client.ts';
import { startOwnApp, type OwnApp } from '../support/own-app.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { pushBlob, sha256 } from '../support/stored-blobs.ts';

const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const accept = { Accept: mediaType };
const unique = () => randomBytes(8).toString('hex');

type Pushed = {
  readonly digest: string;
  readonly config: string;
  readonly layer: string;
  readonly body: string;
};

describe(
  'what clients are told is there, and what they write, is evidence for the clean-up',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    const activity = createRepositoryActivity();
    let registry: Registry;
    let door: OwnApp;
    let client: CacheClient;
    before(async () => {
      registry = await startRegistry();
      door = await startOwnApp(
        registry.url,
        [`upstream.storage=${registry.storageDir}`, 'cache.tagTtl=1h', 'immutableTags=[fixed/*:*]'],
        { deletes: { activity, locks: createRepositoryLocks(), peers: () => null } },
      );
      client = createCacheClient(door);
    });
    after(async () => {
      client.close();
      await door.stop();
      await registry.stop();
    });

    const evidence = async (repositories: readonly string[], digests: readonly string[]) =>
      (await door.perform({ kind: 'evidence', repositories, digests })) ?? assert.fail('none');
    const isLeased = async (digest: string) => (await evidence([], [digest])).leases[0] !== 0;
    const expectStatus = async (status: number, answer: Promise<Answer>) => {
      const { status: given, body } = await answer;
      assert.equal(given, status, body.toString());
    };

    /** Uploads the blobs of an image of its own around Tidegate. */
    const uploadImage = async (repository: string): Promise<Pushed> => {
      const config = await pushBlob(
        registry.url,
        repository,
        Buffer.from(JSON.stringify({ unique: unique() })),
      );
      const layer = await pushBlob(registry.url, repository, randomBytes(1000));
      const body = JSON.stringify({
        ...{ schemaVersion: 2, mediaType },
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: 29, digest: config },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', size: 1000, digest: layer }],
      });
      return { digest: sha256(Buffer.from(body)), config, layer, body };
    };
    const pushAround = async (repository: string, tag: string): Promise<Pushed> => {
      const image = await uploadImage(repository);
      const put = await fetch(`${registry.url}/v2/${repository}/manifests/${tag}`, {
        method: 'PUT',
        headers: { 'Content-Type': mediaType },
        body: image.body,
      });
      assert.equal(put.status, 201);
      return image;
    };

    test('a manifest: from the registry, from the cache, as a 304, by tag and digest, HEAD and GET', async () => {
      for (const method of ['GET', 'HEAD'])
        for (const by of ['tag', 'digest']) {
          const tag = unique();
          const { digest, layer } = await pushAround('app', tag);
          const target = `/v2/app/manifests/${by === 'tag' ? tag : digest}`;
          assert.equal(await isLeased(digest), false);
          await expectStatus(200, client.ask(method, target, { headers: accept }));
          assert.equal(await isLeased(digest), true, `${method} by ${by}`);
          assert.equal(await isLeased(layer), false);
        }
    });

    test('a hit and a 304 are noted as the first answer was', async () => {
      const tag = unique();
      const { digest } = await pushAround('app', tag);
      const ask = (headers: Record<string, string>) =>
        client.ask('GET', `/v2/app/manifests/${tag}`, { headers: { ...accept, ...headers } });
      const first = await ask({});
      assert.equal(first.header('x-cache'), 'MISS');
      const leaseMs = async () => (await evidence([], [digest])).leases[0] ?? 0;
      for (const headers of [{}, { 'If-None-Match': first.header('etag') }] as Record<string, string>[]) {
        const before = await leaseMs();
        let answer = await ask(headers);
        // Leases have whole seconds.
        await until('a later lease', async () => {
          answer = await ask(headers);
          return (await leaseMs()) > before + 500;
        });
        assert.equal(answer.header('x-cache'), 'HIT');
        assert.equal(answer.status, 'If-None-Match' in headers ? 304 : 200);
      }
    });

    test('a blob: HEAD, GET from the files, a part of it, and what is not there is not', async () => {
      for (const [status, method, headers] of [
        [200, 'HEAD', {}],
        [200, 'GET', {}],
        [206, 'GET', { Range: 'bytes=1-2' }],
        [304, 'GET', { 'If-None-Match': '*' }],
      ] as const) {
        const digest = await pushBlob(registry.url, 'app', randomBytes(100));
        const sent = 'If-None-Match' in headers ? { 'If-None-Match': `"${digest}"` } : headers;
        await expectStatus(status, client.ask(method, `/v2/app/blobs/${digest}`, { headers: sent }));
        assert.equal(await isLeased(digest), true, `${method} ${status}`);
      }
      const missing = sha256(randomBytes(10));
      await expectStatus(404, client.ask('HEAD', `/v2/app/blobs/${missing}`));
      assert.equal(await isLeased(missing), false);
    });

    test('a mount', async () => {
      const digest = await pushBlob(registry.url, 'base', randomBytes(100));
      await expectStatus(201, client.ask('POST', `/v2/app/blobs/uploads/?mount=${digest}&from=base`));
      assert.equal(await isLeased(digest), true);
    });

    test('a commit, from its head on', async () => {
      const bytes = randomBytes(100);
      const started = await client.ask('POST', '/v2/app/blobs/uploads/');
      const { pathname, search } = new URL(started.header('location'), 'http://registry');
      const target = `${pathname}${search}&digest=${sha256(bytes)}`;
      const raw = await connectClient(door);
      raw.send(authorized(`PUT ${target}`, 'Content-Length: 100'));
      await until('a lease', () => isLeased(sha256(bytes)));
      raw.send(bytes);
      assert.equal((await raw.response()).status, 201);
      raw.leave();
    });

    test('a push of a manifest: that, and all that it names', async () => {
      const { digest, config, layer, body } = await uploadImage('app');
      await expectStatus(
        201,
        client.ask('PUT', '/v2/app/manifests/pushed', { body, headers: { 'Content-Type': mediaType } }),
      );
      for (const each of [digest, config, layer]) assert.equal(await isLeased(each), true);
    });

    test('a push of the manifest that an immutable tag has', async () => {
      const { digest, body } = await pushAround('fixed/app', 'v1');
      const push = () =>
        client.ask('PUT', '/v2/fixed/app/manifests/v1', { body, headers: { 'Content-Type': mediaType } });
      assert.equal(await isLeased(digest), false);
      await expectStatus(201, push());
      assert.equal(await isLeased(digest), true);
    });

    test('writes move the counters of their repositories and digests, and reads do not', async () => {
      const image = await uploadImage('app');
      const { digest } = image;
      const blob = await pushBlob(registry.url, 'base', randomBytes(10));
      const moves = async (repository: string, about: string, act: () => Promise<Answer>) => {
        const before = await evidence([repository], [about]);
        const { status } = await act();
        const now = await evidence([repository], [about]);
        assert.equal(now.epoch, before.epoch);
        return [status, now.writes[0] !== before.writes[0], now.digestWrites[0] !== before.digestWrites[0]];
      };
      const push = () =>
        client.ask('PUT', '/v2/app/manifests/t', {
          body: image.body,
          headers: { 'Content-Type': mediaType },
        });
      assert.deepEqual(await moves('app', digest, push), [201, true, true]);
      const pull = () => client.ask('GET', `/v2/app/manifests/${digest}`, { headers: accept });
      assert.deepEqual(await moves('app', digest, pull), [200, false, false]);
      const mount = () => client.ask('POST', `/v2/app/blobs/uploads/?mount=${blob}&from=base`);
      assert.deepEqual(await moves('app', blob, mount), [201, true, true]);
      assert.deepEqual(await moves('app', digest, () => client.ask('POST', '/v2/app/blobs/uploads/')), [
        202,
        true,
        false,
      ]);
      const remove = () => client.ask('DELETE', `/v2/app/manifests/${digest}`);
      assert.deepEqual(await moves('app', digest, remove), [202, true, true]);
      assert.deepEqual(await moves('elsewhere', digest, push), [201, false, true]);
    });

    test('a frozen digest is read and written in no repository, and another is', async () => {
      const image = await uploadImage('app');
      const { layer, digest } = image;
      await pushBlob(registry.url, 'other', randomBytes(10));
      const blob = await pushBlob(registry.url, 'app', randomBytes(10));
      for (const key of [layer, digest]) activity.freeze(key, 'test', () => {});
      let answered = 0;
      const held = [
        client.ask('HEAD', `/v2/app/blobs/${layer}`),
        client.ask('POST', `/v2/other/blobs/uploads/?mount=${layer}&from=app`),
        client.ask('PUT', '/v2/app/manifests/tag', {
          body: image.body,
          headers: { 'Content-Type': mediaType },
        }),
        client.ask('GET', `/v2/app/manifests/${digest}`, { headers: accept }),
      ].map((each) => each.finally(() => (answered += 1)));
      await expectStatus(200, client.ask('HEAD', `/v2/app/blobs/${blob}`));
      await expectStatus(200, client.ask('GET', `/v2/app/blobs/${blob}`));
      assert.equal(answered, 0);
      assert.equal(await isLeased(digest), false);
      activity.thaw(layer, 'test');
      await Promise.all(held.slice(0, 2));
      assert.equal(answered, 2);
      activity.thaw(digest, 'test');
      const statuses = (await Promise.all(held)).map(({ status }) => status);
      assert.deepEqual(statuses.slice(0, 3), [200, 201, 201]);
    });
  },
);

test('without the storage of the registry there is no evidence', async () => {
  const door = await startOwnApp('http://127.0.0.1:1', []);
  assert.equal(await door.perform({ kind: 'evidence', repositories: ['app'], digests: [] }), null);
  await door.perform({ kind: 'taken', digests: [sha256(Buffer.from('a'))], isAll: true });
  await door.stop();
});
