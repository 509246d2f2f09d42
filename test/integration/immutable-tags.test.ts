import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type Answer, type CacheClient } from '../support/cache-client.ts';
import { startFrontDoor, type FrontDoor, type LogLine } from '../support/front-door.ts';
import {
  imageType,
  indexType,
  makeImage,
  makeIndex,
  pushConfig,
  pushManifest,
  type Manifest,
} from '../support/manifest-registry.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { replaceConfig, sighup } from '../support/reload.ts';
import { startRedis, until, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { wholeLog } from '../support/whole-log.ts';

const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const alice = 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n';
const patterns = 'immutableTags: ["other/*:*", "*/release:v*"]\n';
const rules = `
policy:
  - { who: [user:chief], repositories: ["**"], actions: [pull, push, delete, overwrite] }
  - { who: [authenticated], repositories: ["**"], actions: [pull, push, delete] }
`;
const asChief = { Authorization: `Basic ${Buffer.from('chief:x').toString('base64')}` };

const skip = unlessInstalled('docker-registry', 'redis-server');

/** Sixteen pushes, each of another manifest. */
function pushAtOnce(
  clients: readonly CacheClient[],
  path: string,
): Promise<{ manifest: Manifest; answer: Answer }[]> {
  return Promise.all(
    Array.from({ length: 16 }, async (_, i) => {
      const manifest = makeImage(`${path} of ${i}`);
      const client = clients[i % clients.length] ?? assert.fail();
      return { manifest, answer: await pushManifest(client, path, manifest) };
    }),
  );
}

function sentence({ body }: Answer): string {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; message: string }[] };
  assert.equal(errors[0]?.code, 'DENIED');
  return errors[0].message;
}

describe('immutable tags', { skip, timeout: 360_000 }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  let config: string;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      htpasswd: `${alice}chief:${hash}\n`,
      config: patterns + rules,
    });
    client = createCacheClient(frontDoor);
    for (const repository of ['a/release', 'b/release', 'plain'])
      config = await pushConfig(client, repository);
  });
  after(async () => {
    client.close();
    await frontDoor.stop();
    await registry.stop();
  });
  const put = (path: string, manifest = makeImage('one'), headers = {}) =>
    pushManifest(client, path, manifest, headers);
  const digestOf = async (repository: string, tag: string) => {
    const headers = { Accept: `${imageType}, ${indexType}` };
    const { status, header } = await client.ask('GET', `/v2/${repository}/manifests/${tag}`, { headers });
    return status === 200 ? header('Docker-Content-Digest') : status;
  };

  test('a tag is pushed once, and then not moved; what it was stays in the cache', async () => {
    const path = '/v2/a/release/manifests/v1';
    assert.equal((await put(path)).status, 201);
    const pull = () => client.ask('GET', path, { headers: { Accept: imageType } });
    await pull();
    const moved = await put(path, makeImage('two'));
    assert.equal(moved.status, 403);
    assert.equal(
      sentence(moved),
      'alice may not move a/release:v1: pattern 2 of immutableTags keeps tags there as they were pushed, and only those with the action overwrite may change that.',
    );
    const pulled = await pull();
    assert.deepEqual([pulled.header('X-Cache'), pulled.body.toString()], ['HIT', makeImage('one').body]);
    const line = await frontDoor.logged((each) => each['status'] === 403);
    assert.equal(line['reason'], 'immutable-tag');
  });

  test('the same manifest once more is no change, with and without Expect', async () => {
    const path = '/v2/a/release/manifests/v-again';
    const first = await put(path);
    assert.equal(first.status, 201);
    const isAudit = (line: LogLine) => line.msg === 'push' && line['tag'] === 'v-again';
    await frontDoor.logged(isAudit);
    for (const headers of [{}, { Expect: '100-continue' }, { 'Transfer-Encoding': 'chunked' }]) {
      const again = await put(path, makeImage('one'), headers);
      assert.deepEqual([again.status, again.body.length], [201, 0]);
      assert.equal(again.header('Docker-Content-Digest'), first.header('Docker-Content-Digest'));
      assert.equal(again.header('Location'), `/v2/a/release/manifests/${makeImage('one').digest}`);
    }
    const log = await wholeLog(frontDoor);
    assert.ok(log.some((line) => line['reason'] === 'pushed-before'));
    assert.equal(log.filter(isAudit).length, 1);
    const large = await client.ask('PUT', path, {
      headers: { 'Content-Type': imageType, 'Transfer-Encoding': 'chunked' },
      body: 'x'.repeat(5_000_000),
    });
    assert.equal(large.status, 413);
  });

  test('tags that no pattern matches move as ever', async () => {
    for (const path of ['/v2/a/release/manifests/latest', '/v2/plain/manifests/v1'])
      for (const text of ['one', 'two']) assert.equal((await put(path, makeImage(text))).status, 201);
    assert.equal((await client.ask('DELETE', `/v2/plain/manifests/${makeImage('one').digest}`)).status, 202);
    assert.equal((await client.ask('DELETE', `/v2/plain/blobs/${config}`)).status, 202);
  });

  test('who may overwrite moves and deletes', async () => {
    const path = '/v2/b/release/manifests/v1';
    assert.equal((await put(path)).status, 201);
    assert.equal((await put(path, makeImage('two'), asChief)).status, 201);
    assert.equal(await digestOf('b/release', 'v1'), makeImage('two').digest);
    const digestPath = `/v2/b/release/manifests/${makeImage('two').digest}`;
    assert.equal((await client.ask('DELETE', digestPath)).status, 403);
    assert.equal((await client.ask('DELETE', digestPath, { headers: asChief })).status, 202);
    assert.equal(await digestOf('b/release', 'v1'), 404);
    assert.equal((await put(path)).status, 201);
  });

  test('neither the tag nor what it names is deleted, directly or in an index', async () => {
    const [child, grandchild, free] = [makeImage('child'), makeImage('grandchild'), makeImage('free')];
    const inner = makeIndex([grandchild]);
    const outer = makeIndex([child, inner]);
    for (const manifest of [child, grandchild, free, inner])
      assert.equal((await put(`/v2/a/release/manifests/${manifest.digest}`, manifest)).status, 201);
    assert.equal((await put('/v2/a/release/manifests/v-multi', outer)).status, 201);
    assert.equal((await put('/v2/a/release/manifests/latest', outer)).status, 201);
    assert.equal((await client.ask('DELETE', '/v2/a/release/manifests/v-multi')).status, 403);
    for (const { digest } of [outer, child, inner, grandchild]) {
      const refused = await client.ask('DELETE', `/v2/a/release/manifests/${digest}`);
      assert.match(
        sentence(refused),
        new RegExp(`may not delete ${digest}, which a/release:v-multi names: `),
      );
    }
    assert.equal((await client.ask('DELETE', `/v2/a/release/manifests/${free.digest}`)).status, 202);
    const blob = await client.ask('DELETE', `/v2/a/release/blobs/${config}`);
    assert.match(sentence(blob), /may not delete sha256:44136fa.*, which a\/release:v/);
    assert.equal(await digestOf('a/release', 'v-multi'), outer.digest);
  });

  test('tags in the query of a push by digest are held to the same', async () => {
    const { digest } = makeImage('one');
    const path = `/v2/a/release/manifests/${makeImage('two').digest}`;
    assert.equal((await put('/v2/a/release/manifests/v-query')).status, 201);
    for (const query of [
      '?tag=v-query',
      '?tag=latest&tag=v-new&tag=v-query',
      '?t%61g=v-que%72y',
      '?x;tag=v-query',
    ])
      assert.match(sentence(await put(path + query, makeImage('two'))), /may not move a\/release:v-query:/);
    // The registry knows no such query, and takes the digest.
    const same = await put(`/v2/a/release/manifests/${digest}?tag=v-query&tag=v-new`);
    assert.equal(same.status, 201);
    const refused = async (target: string, headers = {}) =>
      (await put(target, makeImage('two'), headers)).status;
    assert.equal(await refused(`${path}?${Array<string>(11).fill('tag=x').join('&')}`), 400);
    assert.equal(await refused(`${path}?tag=a%2Fb`), 400);
    assert.equal(await refused('/v2/a/release/manifests/v-query?tag=v-other'), 400);
    assert.equal(await refused(path, { 'Content-Type': 'application/x-www-form-urlencoded' }), 400);
    assert.equal(await digestOf('a/release', 'v-query'), digest);
  });

  test('a pattern takes effect with a reload, and ends with one; without a policy nobody may overwrite', async () => {
    const path = '/v2/plain/manifests/stable';
    await pushConfig(client, 'plain');
    assert.equal((await put(path)).status, 201);
    await replaceConfig(frontDoor, 'immutableTags: ["plain:stable"]\n');
    await sighup(frontDoor);
    assert.equal((await put(path, makeImage('two'), asChief)).status, 403);
    assert.equal((await client.ask('POST', '/v2/plain/manifests/stable')).status, 403);
    assert.equal((await client.ask('OPTIONS', '/v2/plain/manifests/stable')).status, 200);
    await replaceConfig(frontDoor, patterns + rules);
    await sighup(frontDoor);
    assert.equal((await put(path, makeImage('two'))).status, 201);
  });
});

describe('many who push one new tag', { skip, timeout: 360_000 }, () => {
  let registry: Registry;
  let redis: RedisServer;
  before(async () => {
    registry = await startRegistry();
    redis = await startRedis();
  });
  after(async () => {
    await registry.stop();
    await redis.stop();
  });

  for (const [name, instances, set] of [
    ['two workers', 1, ['workers=2']],
    ['two instances with two workers each and a Redis', 2, ['workers=2', 'cache.driver=redis']],
  ] as const)
    test(`${name}: one gets it, all others are refused`, async () => {
      const frontDoors = await Promise.all(
        Array.from({ length: instances }, () =>
          startFrontDoor({
            upstreamUrl: registry.url,
            set: [
              ...set,
              `cache.redis.url=redis://${redis.address}`,
              'cache.redis.timeout=5s',
              'log.audit=false',
            ],
            config: 'immutableTags: ["**:v*"]\n',
          }),
        ),
      );
      const clients = frontDoors.map(createCacheClient);
      try {
        const [first] = clients;
        assert.ok(first);
        const repository = `race${instances}`;
        await pushConfig(first, repository);
        for (const tag of ['v1', 'v2', 'v3']) {
          const done = await pushAtOnce(clients, `/v2/${repository}/manifests/${tag}`);
          const winners = done.filter(({ answer }) => answer.status === 201);
          assert.equal(winners.length, 1);
          for (const { answer } of done)
            if (answer.status !== 201) assert.match(sentence(answer), /may not move/);
          for (const client of clients) {
            const { body } = await client.ask('GET', `/v2/${repository}/manifests/${tag}`, {
              headers: { Accept: imageType },
            });
            assert.equal(body.toString(), winners[0]?.manifest.body);
          }
        }
        await until('nothing is locked', async () => (await redis.admin.keys('*lock*')).length === 0);
      } finally {
        for (const client of clients) client.close();
        for (const frontDoor of frontDoors) await frontDoor.stop();
      }
    });
});
