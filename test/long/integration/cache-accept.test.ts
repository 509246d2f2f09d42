import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type Answer, type CacheClient } from '../../support/cache-client.ts';
import { digestOf, pushBlob } from '../../support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { clientHost } from '../../support/raw-client.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { startRedis, until, type RedisServer } from '../../support/redis.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const docker = 'application/vnd.docker.distribution.manifest.v2+json';
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json';
const oci = 'application/vnd.oci.image.manifest.v1+json';
const ociIndex = 'application/vnd.oci.image.index.v1+json';
const schema1 = 'application/vnd.docker.distribution.manifest.v1+json';
const signed = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

/** What each client sends as Accept, field by field, as recorded behind it. */
const clients: Readonly<Record<string, readonly string[]>> = {
  'docker 20.10': [signed, 'application/json', oci, docker, dockerList, ociIndex],
  'docker 28, manifest inspect': [dockerList, ociIndex, oci, docker],
  'ctr, containerd': [[docker, dockerList, oci, ociIndex, '*/*'].join(', ')],
  'containerd, of what it fetches': [[oci, '*/*'].join(', ')],
  'podman, skopeo': [oci, docker, signed, schema1, dockerList, ociIndex],
  'an old docker': [docker, signed, 'application/json'],
  'a reader of the first schema': [signed],
  'a reader of images only': [docker, oci],
  'a reader of lists only': [`${dockerList};q=0.9,${ociIndex}`],
  curl: ['*/*'],
  'no Accept': [],
  'an empty one': [''],
};

const skip = unlessInstalled('docker-registry', 'redis-server');

for (const driver of ['memory', 'redis', 'off']) {
  describe(
    `each client gets what the registry would give it, cache.driver ${driver}`,
    { skip, timeout: 360_000 },
    () => {
      let registry: Registry;
      let redis: RedisServer;
      let frontDoor: FrontDoor;
      let client: CacheClient;
      const digests: Record<string, string> = {};

      before(async () => {
        registry = await startRegistry();
        redis = await startRedis();
        frontDoor = await startFrontDoor({
          upstreamUrl: registry.url,
          set: [
            `cache.driver=${driver}`,
            'cache.tagTtl=1h',
            'cache.redis.timeout=1s',
            `cache.redis.url=redis://127.0.0.1:${redis.port}`,
          ],
        });
        client = createCacheClient(frontDoor);
        await pushAll();
        await until('the cache is in use', async () => {
          const { header } = await client.ask('GET', '/v2/app/manifests/warm', {
            headers: { Accept: docker },
          });
          return header('X-Cache') === (driver === 'off' ? 'BYPASS' : 'HIT');
        });
      });
      after(async () => {
        client.close();
        await frontDoor.stop();
        await redis.stop();
        await registry.stop();
      });

      async function pushAll(): Promise<void> {
        const config = JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          created: '2020-01-01T00:00:00Z',
          config: {},
          rootfs: { type: 'layers', diff_ids: [] },
          history: [],
        });
        await pushBlob(client, 'app', config);
        const size = config.length;
        const digest = digestOf(config);
        const image = (mediaType: string, configType: string) =>
          JSON.stringify({
            schemaVersion: 2,
            mediaType,
            config: { mediaType: configType, digest, size },
            layers: [],
          });
        const dockerImage = image(docker, 'application/vnd.docker.container.image.v1+json');
        const ociImage = image(oci, 'application/vnd.oci.image.config.v1+json');
        const list = (mediaType: string, of: string, body: string) =>
          JSON.stringify({
            schemaVersion: 2,
            mediaType,
            manifests: [
              {
                mediaType: of,
                digest: digestOf(body),
                size: body.length,
                platform: { architecture: 'amd64', os: 'linux' },
              },
            ],
          });
        const all: Readonly<Record<string, readonly [type: string, body: string]>> = {
          'docker-image': [docker, dockerImage],
          'oci-image': [oci, ociImage],
          'docker-list': [dockerList, list(dockerList, docker, dockerImage)],
          'oci-index': [ociIndex, list(ociIndex, oci, ociImage)],
          warm: [docker, dockerImage],
        };
        for (const [tag, [type, body]] of Object.entries(all)) {
          const pushed = await client.ask('PUT', `/v2/app/manifests/${tag}`, {
            headers: { 'Content-Type': type },
            body,
          });
          assert.equal(pushed.status, 201, pushed.body.toString());
          digests[tag] = digestOf(body);
        }
      }

      const direct = (
        method: string,
        target: string,
        headers: Record<string, string | string[]>,
      ): Promise<Answer> =>
        new Promise((resolve, reject) => {
          const asked = httpRequest(registry.url + target, {
            method,
            headers: { Host: clientHost, ...headers },
          });
          asked.on('error', reject);
          asked.on('response', (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                rawHeaders: response.rawHeaders,
                body: Buffer.concat(chunks),
                header: (name) => String(response.headers[name.toLowerCase()] ?? ''),
              }),
            );
          });
          asked.end();
        });

      /** Sorted lines of the head, less those that are set anew, and what is in the body. */
      const contentOf = ({ status, rawHeaders, body, header }: Answer) => {
        // The first schema is signed anew for every answer.
        const isSigned = header('Content-Type').startsWith(schema1.replace('+json', ''));
        const perAnswer = [
          'date',
          'x-cache',
          'connection',
          'keep-alive',
          ...(isSigned ? ['content-length'] : []),
        ];
        const lines = rawHeaders.flatMap((name, i) => {
          const perDigest = isSigned && /etag|digest/i.test(name);
          if (i % 2 === 1 || perAnswer.includes(name.toLowerCase()) || perDigest) return [];
          return [`${name}: ${rawHeaders[i + 1] ?? ''}`];
        });
        return { status, lines: lines.sort(), body: isSigned ? '' : body.toString() };
      };

      for (const [name, accept] of Object.entries(clients).slice(0, driver === 'off' ? 2 : Infinity)) {
        for (const tag of ['docker-image', 'oci-image', 'docker-list', 'oci-index']) {
          test(`${name}: ${tag}`, async () => {
            const headers = accept.length === 0 ? {} : { Accept: [...accept] };
            const etag = `"${digests[tag] ?? ''}"`;
            for (const reference of [tag, digests[tag] ?? '']) {
              const target = `/v2/app/manifests/${reference}`;
              for (const extra of [{}, { 'If-None-Match': etag }, { 'If-None-Match': '"sha256:0"' }]) {
                // Twice, for what the first question leaves behind; HEAD among them.
                for (const method of ['GET', 'HEAD', 'GET']) {
                  const wanted = await direct(method, target, { ...headers, ...extra });
                  const given = await client.ask(method, target, { headers: { ...headers, ...extra } });
                  if (wanted.status !== 304) assert.deepEqual(contentOf(given), contentOf(wanted));
                  // The registry compares with what the tag names, even where it would answer with something else.
                  else if (given.status === 200) assert.notEqual(given.header('ETag'), etag);
                  else assert.deepEqual([given.status, given.body.length], [304, 0]);
                  const type = given.header('Content-Type');
                  if (given.header('X-Cache') === 'HIT' && given.status === 200)
                    assert.ok(accept.join().includes(type), `${type} from the cache`);
                  if (driver === 'off') assert.equal(given.header('X-Cache'), 'BYPASS');
                }
              }
            }
          });
        }
      }

      test('Range and If-Match go through', async () => {
        for (const extra of [{ Range: 'bytes=0-3' }, { 'If-Match': '"x"' }]) {
          const headers = { Accept: docker, ...extra };
          const given = await client.ask('GET', '/v2/app/manifests/warm', { headers });
          assert.equal(given.header('X-Cache'), 'BYPASS');
          assert.deepEqual(
            contentOf(given),
            contentOf(await direct('GET', '/v2/app/manifests/warm', headers)),
          );
        }
      });
    },
  );
}
