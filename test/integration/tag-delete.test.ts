import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { createTombstoneSource } from '../../src/pipeline/tag-delete/tombstone-source.ts';
import { tombstoneType } from '../../src/registry/tombstone.ts';
import { findAdmin, watched } from '../support/admin.ts';
import { createCacheClient, type Answer, type CacheClient } from '../support/cache-client.ts';
import { createDirectClient, deleteTagsUnderPushes } from '../support/delete-history.ts';
import { startFrontDoor, user, type FrontDoorOptions } from '../support/front-door.ts';
import {
  imageType,
  makeImage,
  pushConfig,
  pushManifest,
  type Manifest,
} from '../support/manifest-registry.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startSteppedRegistry } from '../support/stepped-registry.ts';
import { readUsage } from '../support/usage.ts';

const accepting = { headers: { Accept: `${imageType}, ${tombstoneType}` } };
const pathOf = (repository: string, reference: string) => `/v2/${repository}/manifests/${reference}`;
const codeOf = ({ body }: Answer) =>
  (JSON.parse(body.toString()) as { errors: { code: string }[] }).errors[0]?.code;

/** Pushes an image under each tag. */
async function pushTags(
  client: CacheClient,
  repository: string,
  image: Manifest,
  tags: readonly string[],
): Promise<void> {
  await pushConfig(client, repository);
  for (const tag of tags)
    assert.equal((await pushManifest(client, pathOf(repository, tag), image)).status, 201);
}

const listTags = async (client: CacheClient, repository: string): Promise<readonly string[]> => {
  const { body } = await client.ask('GET', `/v2/${repository}/tags/list`);
  return (JSON.parse(body.toString()) as { tags: string[] | null }).tags ?? [];
};

describe(
  'a tag deleted at a registry that deletes only digests',
  { skip: unlessInstalled('docker-registry'), timeout: 550_000 },
  () => {
    let registry: Registry;
    let direct: CacheClient;
    let stateDir: string;
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
      direct = createDirectClient(registry.url);
      stateDir = await mkdtemp(path.join(tmpdir(), 'tidegate-state-'));
    });
    after(async () => {
      direct.close();
      await registry.stop();
      await rm(stateDir, { recursive: true, force: true });
    });

    const open = async (t: TestContext, options: Partial<FrontDoorOptions> = {}) => {
      const frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        ...options,
        set: [`state.dir=${stateDir}`, ...(options.set ?? [])],
      });
      const client = createCacheClient(frontDoor);
      t.after(async () => {
        client.close();
        await frontDoor.stop();
      });
      return { frontDoor, client };
    };
    /** That nothing is left of removals. */
    const assertNoneNoted = async () => assert.deepEqual(await readdir(path.join(stateDir, 'removals')), []);

    test('goes alone: its twins and its manifest stay, and no answer is older', async (t) => {
      const { frontDoor, client } = await open(t, { set: ['workers=2'] });
      const repository = 'team/twins';
      const image = makeImage('twins');
      const twins = Array.from({ length: 100 }, (_, i) => `t${i}`);
      await pushTags(client, repository, image, ['gone', ...twins]);
      await until('the tag is in the cache', async () => {
        const { header } = await client.ask('GET', pathOf(repository, 'gone'), accepting);
        return header('X-Cache') === 'HIT';
      });

      const deleted = await client.ask('DELETE', pathOf(repository, 'gone'));
      assert.deepEqual([deleted.status, deleted.body.length], [202, 0]);
      for (const method of ['GET', 'HEAD']) {
        const answer = await client.ask(method, pathOf(repository, 'gone'), accepting);
        assert.equal(answer.status, 404);
      }
      for (const reference of [image.digest, 't0', 't99']) {
        const answer = await client.ask('GET', pathOf(repository, reference), accepting);
        assert.deepEqual([answer.status, answer.body.toString()], [200, image.body]);
      }
      assert.deepEqual([...(await listTags(direct, repository))].sort(), [...twins].sort());
      await assertNoneNoted();

      const again = await client.ask('DELETE', pathOf(repository, 'gone'));
      assert.deepEqual([again.status, codeOf(again)], [404, 'MANIFEST_UNKNOWN']);
      const elsewhere = await client.ask('DELETE', pathOf('team/nowhere', 'gone'));
      assert.deepEqual([elsewhere.status, codeOf(elsewhere)], [404, 'MANIFEST_UNKNOWN']);

      const line = await frontDoor.logged(({ msg }) => msg === 'delete');
      assert.deepEqual(
        ['object', 'repository', 'tag', 'digest', 'status', 'result', 'user'].map((name) => line[name]),
        ['tag', repository, 'gone', image.digest, 202, 'success', user],
      );
    });

    test('and what else is deleted, in the order of the distribution-spec', async (t) => {
      const { client } = await open(t);
      const repository = 'team/content';
      const image = makeImage('content');
      await pushTags(client, repository, image, ['one', 'two']);
      const blob = `/v2/${repository}/blobs/${await pushConfig(client, repository)}`;
      const tag = pathOf(repository, 'one');
      const manifest = pathOf(repository, image.digest);
      for (const [method, target, status] of [
        ['DELETE', tag, 202],
        ['HEAD', tag, 404],
        ['GET', tag, 404],
        ['DELETE', tag, 404],
        ['HEAD', manifest, 200],
        ['HEAD', pathOf(repository, 'two'), 200],
        ['DELETE', manifest, 202],
        ['GET', manifest, 404],
        ['GET', pathOf(repository, 'two'), 404],
        ['DELETE', pathOf(repository, 'two'), 404],
        ['DELETE', manifest, 404],
        ['DELETE', blob, 202],
        ['HEAD', blob, 404],
      ] as const) {
        const answer = await client.ask(method, target, accepting);
        assert.equal(answer.status, status, `${method} ${target}`);
      }
      assert.deepEqual(await listTags(client, repository), []);
      // What was deleted can be pushed again, under the same names.
      await pushTags(client, repository, image, ['one']);
      assert.equal((await client.ask('GET', tag, accepting)).body.toString(), image.body);
      assert.equal((await client.ask('DELETE', tag)).status, 202);
    });

    test('is one request in log, audit, metrics and the record of usage', async (t) => {
      const { frontDoor, client } = await open(t, { set: [...watched, 'workers=2'] });
      const repository = 'team/counted';
      const image = makeImage('counted');
      await pushTags(client, repository, image, ['a', 'b']);
      const admin = await findAdmin(frontDoor);
      const count = async () =>
        [...(await admin.metrics())]
          .filter(([key]) => key.startsWith('tidegate_requests_total'))
          .reduce((sum, [, value]) => sum + value, 0);
      const before = await count();
      assert.equal((await client.ask('DELETE', pathOf(repository, 'a'))).status, 202);
      assert.equal((await client.ask('GET', pathOf(repository, 'b'), accepting)).status, 200);
      await frontDoor.logged((line) => line['method'] === 'DELETE');
      await until('both requests are counted', async () => (await count()) === before + 2);
      const about = frontDoor.log.filter((line) => line['path'] === pathOf(repository, 'a'));
      assert.deepEqual(
        about.map(({ msg, ...fields }) => [msg, fields['method'], fields['status']]),
        [
          ['request', 'PUT', 201],
          ['request', 'DELETE', 202],
        ],
      );
      assert.deepEqual(
        frontDoor.log
          .filter(({ msg, ...fields }) => fields['repository'] === repository && msg !== 'request')
          .map(({ msg, tag }) => [msg, tag]),
        [
          ['push', 'a'],
          ['push', 'b'],
          ['delete', 'a'],
        ],
      );
      await until('its pushes are recorded', async () => {
        const { repositories } = await readUsage(stateDir);
        return repositories.find((each) => each.repository === repository)?.pushes === 2;
      });
    });

    test('needs the permission to delete, and an immutable tag stays', async (t) => {
      const { client } = await open(t, {
        config:
          'immutableTags: ["**:v*"]\npolicy:\n  - { who: [authenticated], repositories: [team/kept], actions: [pull, push] }\n  - { who: [authenticated], repositories: [team/fixed], actions: [pull, push, delete] }\n',
      });
      const image = makeImage('kept');
      for (const [repository, tag] of [
        ['team/kept', 'latest'],
        ['team/fixed', 'v1'],
      ] as const) {
        await pushTags(client, repository, image, [tag]);
        const refused = await client.ask('DELETE', pathOf(repository, tag));
        assert.deepEqual([refused.status, codeOf(refused)], [403, 'DENIED'], tag);
        const kept = await direct.ask('GET', pathOf(repository, tag), accepting);
        assert.equal(kept.body.toString(), image.body);
      }
      await pushTags(client, 'team/fixed', image, ['latest']);
      assert.equal((await client.ask('DELETE', pathOf('team/fixed', 'latest'))).status, 202);
      assert.deepEqual(await listTags(direct, 'team/fixed'), ['v1']);
    });

    test('stays where the registry allows no deletes, or the removal cannot be noted', async (t) => {
      const closed = await startRegistry({ deletes: false });
      t.after(() => closed.stop());
      const image = makeImage('stays');
      const forbidden = await open(t, { upstreamUrl: closed.url });
      await pushTags(forbidden.client, 'app', image, ['a', 'b']);
      const refused = await forbidden.client.ask('DELETE', pathOf('app', 'a'));
      assert.deepEqual([refused.status, codeOf(refused)], [405, 'UNSUPPORTED']);
      assert.match(refused.body.toString(), /storage\.delete\.enabled/);
      const kept = await forbidden.client.ask('GET', pathOf('app', 'a'), accepting);
      assert.equal(kept.body.toString(), image.body);

      // A file is in the place of the folder, which stops even root.
      const unwritable = await open(t, {
        set: [`state.dir=${closed.storageDir}/../config.yml`, 'state.usage=false'],
      });
      await pushTags(unwritable.client, 'team/unnoted', image, ['a']);
      const unnoted = await unwritable.client.ask('DELETE', pathOf('team/unnoted', 'a'));
      assert.deepEqual([unnoted.status, codeOf(unnoted)], [503, 'UNAVAILABLE']);
      const still = await direct.ask('GET', pathOf('team/unnoted', 'a'), accepting);
      assert.equal(still.body.toString(), image.body);
    });

    test('that leads to a tombstone is not there, and can be pushed, though it is immutable', async (t) => {
      const { client } = await open(t, {
        config: 'immutableTags: ["**:v*"]\ncache: { driver: memory }\n',
        set: ['workers=2'],
      });
      const repository = 'team/between';
      const source = createTombstoneSource();
      const tombstone = await source.take();
      const put = (body: string | Buffer, tag: string) =>
        direct.ask('PUT', pathOf(repository, tag), { headers: { 'Content-Type': tombstoneType }, body });
      assert.equal((await put(tombstone.body, 'v1')).status, 201);
      for (const method of ['GET', 'HEAD'])
        for (const headers of [{}, { 'If-None-Match': '"other"' }, { 'Cache-Control': 'no-cache' }])
          for (const reference of ['v1', tombstone.digest]) {
            const answer = await client.ask(method, pathOf(repository, reference), {
              headers: { ...accepting.headers, ...headers },
            });
            assert.equal(answer.status, 404, `${method} ${JSON.stringify(headers)}`);
            if (method === 'GET') assert.equal(codeOf(answer), 'MANIFEST_UNKNOWN');
          }
      const image = makeImage('between');
      await pushTags(client, repository, image, ['v1']);
      const pulled = await client.ask('GET', pathOf(repository, 'v1'), accepting);
      assert.equal(pulled.body.toString(), image.body);
    });

    test('goes at the registry of a route, and stays in a mirror', async (t) => {
      const routed = await startRegistry();
      t.after(() => routed.stop());
      const there = createDirectClient(routed.url);
      t.after(() => there.close());
      const image = makeImage('routed');
      await pushTags(there, 'app', image, ['a', 'b', 'c']);
      const mirrored = await startRegistry();
      t.after(() => mirrored.stop());
      const { client } = await open(t, {
        config: [
          'routes:',
          `  - { name: other, repositories: [other/**], stripPrefix: other, upstream: { url: "${routed.url}" } }`,
          `  - { name: read, repositories: [read/**], stripPrefix: read, readOnly: true, upstream: { url: "${mirrored.url}" } }`,
        ].join('\n'),
      });
      assert.equal((await client.ask('DELETE', pathOf('other/app', 'a'))).status, 202);
      assert.equal((await client.ask('GET', pathOf('other/app', 'a'), accepting)).status, 404);
      const absent = await client.ask('DELETE', pathOf('other/app', 'a'));
      assert.deepEqual([absent.status, codeOf(absent)], [404, 'MANIFEST_UNKNOWN']);
      assert.equal((await client.ask('DELETE', pathOf('read/app', 'b'))).status, 405);
      assert.deepEqual([...(await listTags(there, 'app'))].sort(), ['b', 'c']);
    });

    test('a client that leaves does not stop it, and reads wait for it', async (t) => {
      const stepped = await startSteppedRegistry(registry.url);
      t.after(() => stepped.close());
      const { client } = await open(t, { upstreamUrl: stepped.url, set: ['workers=2'] });
      const repository = 'team/left';
      const image = makeImage('left');
      await pushTags(client, repository, image, ['a', 'b']);
      const leaving = createCacheClient((await open(t, { upstreamUrl: stepped.url })).frontDoor);
      let reading: Promise<Answer> | undefined;
      stepped.onStep = ({ method, target, at }) => {
        if (method !== 'PUT' || at !== 'answer' || !target.endsWith('/a')) return;
        leaving.close();
        reading = client.ask('GET', pathOf(repository, 'b'), accepting);
      };
      await assert.rejects(leaving.ask('DELETE', pathOf(repository, 'a')));
      await until('the tag is gone', async () => !(await listTags(direct, repository)).includes('a'));
      assert.equal((await reading)?.body.toString(), image.body);
      await until(
        'nothing is noted',
        async () => (await readdir(path.join(stateDir, 'removals'))).length === 0,
      );
    });

    test('beside pushes that move tags, none that was acknowledged is lost', async (t) => {
      const { client } = await open(t, { set: ['workers=2'] });
      const losses = await deleteTagsUnderPushes(
        [client],
        'team/moving',
        Number(process.env['ROUNDS'] ?? '12'),
      );
      t.diagnostic(JSON.stringify(losses));
      assert.ok(losses.of > 0 && losses.removed > 0);
      assert.equal(losses.lost, 0);
      await assertNoneNoted();
    });
  },
);
