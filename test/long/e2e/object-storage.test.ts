import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { digestOf, ociManifest } from '../../support/cache-load.ts';
import { createContainersClient } from '../../support/clients-containers.ts';
import { createDockerClient, findDockerClis } from '../../support/clients-docker.ts';
import { assertSucceeded, type Client } from '../../support/clients.ts';
import {
  s3Driver,
  startDriverRegistry,
  swiftDriver,
  type DriverRegistry,
} from '../../support/driver-registry.ts';
import { openEngineNamespace, unlessNamespaces } from '../../support/engine-namespace.ts';
import { startEngine } from '../../support/engine.ts';
import { password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { createImage, type Image } from '../../support/image.ts';
import { openObjectStore, type ObjectStore } from '../../support/object-store.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const everything = { loggedIn: true, trusting: true };
/** The registry writes parts of 5 MiB: these layers have several, and a last one that is smaller. */
const layerBytes = 11_000_000;
const third = process.env['TEST_REGISTRY_3'];

const cases = [
  { name: "docker-registry's swift driver", container: 'swift', driver: swiftDriver },
  { name: "docker-registry's s3 driver", container: 's3-two', driver: s3Driver },
  { name: "distribution 3's s3 driver", container: 's3-three', driver: s3Driver, program: third ?? '' },
];

const skip = unlessInstalled('docker-registry', 'skopeo', 'tar', 'curl');
const opened = skip === false ? await openObjectStore() : skip;

describe(
  'images in an object store',
  { skip: typeof opened === 'string' && opened, timeout: 900_000 },
  () => {
    const store = opened as ObjectStore;
    after(() => store.stop());

    for (const { name, container, driver, program } of cases) {
      const missing = program === '' && 'TEST_REGISTRY_3 names no distribution 3';
      describe(name, { skip: missing }, () => {
        let image: Image;
        let direct: DriverRegistry;
        let redirecting: DriverRegistry;
        let frontDoor: FrontDoor;
        let http: CacheClient;
        let layer: { digest: string; size: number };
        before(async () => {
          await store.createContainer(container);
          const registry = { driver: driver(store, container), ...(program && { program }) };
          image = await createImage({ layerCount: 2, layerBytes });
          direct = await startDriverRegistry(registry);
          redirecting = await startDriverRegistry({ ...registry, redirects: true });
          frontDoor = await startFrontDoor({ upstreamUrl: direct.url });
          http = createCacheClient(frontDoor);
        });
        after(async () => {
          http.close();
          await frontDoor.stop();
          await redirecting.stop();
          await direct.stop();
          await image.remove();
        });

        const useSkopeo = async (door: FrontDoor, use: (client: Client) => Promise<void>) => {
          const client = await createContainersClient('skopeo', {
            ...{ host: `localhost:${door.port}`, ca: door.ca, image },
          });
          try {
            assert.equal((await client.login(password, { trusting: true })).code, 0);
            await use(client);
          } finally {
            await client.cleanUp();
          }
        };

        it('takes an image and gives it back, through the registry', async (t) => {
          await useSkopeo(frontDoor, async (client) => {
            assertSucceeded(t, await client.push('team/app:1', everything));
            assertSucceeded(t, await client.pull('team/app:1', everything));
            assert.equal((await client.pulled('team/app:1')).id, image.id);
          });
          const answer = await http.ask('GET', '/v2/team/app/manifests/1', {
            headers: {
              Accept: ['application/vnd.docker.distribution.manifest.v2+json', ociManifest].join(', '),
            },
          });
          const { layers } = JSON.parse(answer.body.toString()) as { layers: (typeof layer)[] };
          layer = layers[0] ?? assert.fail('no layer');
          const line = await frontDoor.logged(
            (entry) => entry['path'] === `/v2/team/app/blobs/${layer.digest}` && entry['method'] === 'GET',
          );
          assert.equal(line['status'], 200);
          assert.equal(line['responseBytes'] ?? layer.size, layer.size);
        });

        it('answers HEAD, and ranges across its parts', async () => {
          const target = `/v2/team/app/blobs/${layer.digest}`;
          const whole = await http.ask('GET', target);
          assert.deepEqual([whole.status, digestOf(whole.body)], [200, layer.digest]);
          const told = await http.ask('HEAD', target);
          assert.deepEqual([told.status, told.header('Content-Length')], [200, `${layer.size}`]);
          const part = 5 * 1024 * 1024;
          for (const [from, to] of [
            [0, 0],
            [part - 3, part + 2],
            [2 * part - 1, layer.size - 1],
          ] as const) {
            const { status, body, header } = await http.ask('GET', target, {
              headers: { Range: `bytes=${from}-${to}` },
            });
            assert.deepEqual([status, header('Content-Range')], [206, `bytes ${from}-${to}/${layer.size}`]);
            assert.ok(body.equals(whole.body.subarray(from, to + 1)));
          }
          // docker-registry 2.8 announces the whole length with its 416, sends an error instead, and breaks off.
          const beyond = http.ask('GET', target, { headers: { Range: `bytes=${layer.size}-` } });
          if (program) assert.equal((await beyond).status, 416);
          else await assert.rejects(beyond, { code: 'ECONNRESET' });
        });

        it('takes a blob in pieces, and lends it to another repository', async () => {
          const bytes = randomBytes(layerBytes);
          const digest = digestOf(bytes);
          const begun = await http.ask('POST', '/v2/team/pieces/blobs/uploads/');
          assert.equal(begun.status, 202);
          let place = begun.header('Location');
          const size = 4_000_000;
          for (let at = 0; at < bytes.length; at += size) {
            const body = bytes.subarray(at, at + size);
            const taken = await http.ask('PATCH', targetOf(place), {
              body,
              headers: {
                'Content-Type': 'application/octet-stream',
                'Content-Range': `${at}-${at + body.length - 1}`,
              },
            });
            assert.equal(taken.status, 202, taken.body.toString());
            place = taken.header('Location');
          }
          const target = targetOf(place);
          const more = target.includes('?') ? '&' : '?';
          assert.equal((await http.ask('PUT', `${target}${more}digest=${digest}`)).status, 201);
          const lent = await http.ask(
            'POST',
            `/v2/team/other/blobs/uploads/?mount=${digest}&from=team/pieces`,
          );
          assert.equal(lent.status, 201);
          const back = await http.ask('GET', `/v2/team/other/blobs/${digest}`);
          assert.deepEqual([back.status, digestOf(back.body)], [200, digest]);
          const none = await http.ask('GET', `/v2/team/none/blobs/${digest}`);
          assert.equal(none.status, 404);
        });

        it('passes on where the registry sends clients to, with redirects', async (t) => {
          const other = await startFrontDoor({ upstreamUrl: redirecting.url });
          const client = createCacheClient(other);
          try {
            for (const method of ['HEAD', 'GET']) {
              const sent = await client.ask(method, `/v2/team/app/blobs/${layer.digest}`);
              assert.equal(sent.status, 307);
              const place = sent.header('Location');
              assert.ok(place.startsWith(`${store.url}/`), place);
              if (method === 'HEAD') continue;
              // The client's password is not for the store, which knows it by the address alone.
              const got = await fetch(place, { headers: { Range: 'bytes=10-19' } });
              assert.deepEqual([got.status, (await got.arrayBuffer()).byteLength], [206, 10]);
            }
            const line = await other.logged((entry) => entry['status'] === 307 && entry['method'] === 'GET');
            assert.doesNotMatch(JSON.stringify(line), /temp_url_sig|X-Amz-Signature/);
            await useSkopeo(other, async (skopeo) => {
              assertSucceeded(t, await skopeo.push('team/redirected:1', everything));
              assertSucceeded(t, await skopeo.pull('team/redirected:1', everything));
              assert.equal((await skopeo.pulled('team/redirected:1')).id, image.id);
            });
          } finally {
            client.close();
            await other.stop();
          }
        });

        it('keeps manifests, and forgets one that is deleted', async () => {
          const target = '/v2/team/app/manifests/1';
          const headers = { Accept: 'application/vnd.docker.distribution.manifest.v2+json' };
          const { header } = await http.ask('GET', target, { headers });
          assert.equal((await http.ask('GET', target, { headers })).header('X-Cache'), 'HIT');
          const digest = header('Docker-Content-Digest');
          assert.equal((await http.ask('DELETE', `/v2/team/app/manifests/${digest}`)).status, 202);
          assert.equal((await http.ask('GET', target, { headers })).status, 404);
        });
      });
    }
  },
);

const clis = await findDockerClis();
const noEngine =
  unlessInstalled('docker-registry', 'docker', 'dockerd', 'ip', 'unshare', 'nsenter', 'curl', 'tar') ||
  unlessNamespaces();

describe('Docker, with images in Swift', { skip: noEngine, timeout: 550_000 }, () => {
  for (const cli of clis)
    for (const redirects of [false, true])
      it(`docker ${cli.version} pushes and pulls, redirects ${redirects ? 'on' : 'off'}`, async (t) => {
        const namespace = await openEngineNamespace();
        const within = namespace.networkOnly;
        const store = await openObjectStore({ within });
        if (typeof store === 'string') {
          await namespace.close();
          t.skip(store);
          return;
        }
        const engine = await startEngine(namespace);
        const driver = swiftDriver(store, 'images');
        const registry = await startDriverRegistry({ driver, redirects, within });
        const frontDoor = await startFrontDoor({
          upstreamUrl: registry.url,
          hosts: [namespace.host],
          set: ['listen.host=0.0.0.0', 'listen.port=443'],
          within,
        });
        const image = await createImage({ layerCount: 2, layerBytes });
        const client = await createDockerClient(cli, { namespace, engine, ca: frontDoor.ca, image });
        try {
          assertSucceeded(t, await client.login(password, { trusting: true }));
          assertSucceeded(t, await client.push('team/docker:1', everything));
          assertSucceeded(t, await client.pull('team/docker:1', everything));
          assert.equal((await client.pulled('team/docker:1')).id, image.id);
        } finally {
          await client.cleanUp();
          await frontDoor.stop();
          await registry.stop();
          await store.stop();
          await namespace.close();
          await engine.cleanUp();
          await image.remove();
        }
      });
});

const targetOf = (place: string): string => {
  const url = new URL(place, 'https://registry.example');
  return `${url.pathname}${url.search}`;
};
