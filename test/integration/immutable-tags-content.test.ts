import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type Answer, type CacheClient } from '../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import {
  imageType,
  indexType,
  makeImage,
  makeIndex,
  makeManifest,
  pushBlob,
  pushConfig,
  pushManifest,
  type Manifest,
} from '../support/manifest-registry.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
const alice = 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n';
const config = `
immutableTags: ["**:v*"]
policy:
  - { who: [user:chief], repositories: ["**"], actions: [pull, push, delete, overwrite] }
  - { who: [authenticated], repositories: ["**"], actions: [pull, push, delete] }
`;
const asChief = { Authorization: `Basic ${Buffer.from('chief:x').toString('base64')}` };
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const configType = 'application/vnd.oci.image.config.v1+json';

const describeAs = (mediaType: string, { digest, body }: Pick<Manifest, 'digest' | 'body'>) => ({
  mediaType,
  digest,
  size: body.length,
});
const configOf = (digest: string) => ({ mediaType: configType, digest, size: 2 });

function sentence({ body }: Answer): string {
  const { errors } = JSON.parse(body.toString()) as { errors: { message: string }[] };
  return errors[0]?.message ?? '';
}

function errorCodeOf({ body }: Answer): unknown {
  return (JSON.parse(body.toString()) as { errors: { code: string }[] }).errors[0]?.code;
}

describe(
  'what the content of an immutable tag reaches',
  {
    skip: unlessInstalled('docker-registry'),
    timeout: 360_000,
  },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let client: CacheClient;
    let number = 0;
    before(async () => {
      registry = await startRegistry();
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        htpasswd: `${alice}chief:${hash}\n`,
        config,
      });
      client = createCacheClient(frontDoor);
    });
    after(async () => {
      client.close();
      await frontDoor.stop();
      await registry.stop();
    });

    /** A repository of its own, with the configuration of all images. */
    const open = async () => {
      const repository = `content/r${++number}`;
      const empty = await pushConfig(client, repository);
      const put = async (manifest: Manifest, reference = manifest.digest) => {
        const answer = await pushManifest(client, `/v2/${repository}/manifests/${reference}`, manifest);
        assert.equal(answer.status, 201, answer.body.toString());
      };
      const ask = (method: string, object: string, reference: string, headers = {}) =>
        client.ask(method, `/v2/${repository}/${object}/${reference}`, {
          headers: { Accept: `${imageType}, ${indexType}, */*`, ...headers },
        });
      const files = path.join(registry.storageDir, 'docker/registry/v2/repositories', repository);
      return {
        repository,
        empty,
        put,
        ask,
        files,
        blob: (text: string) => pushBlob(client, repository, text),
      };
    };
    type Place = Awaited<ReturnType<typeof open>>;

    /** Each pushes a tag v1 and gives the digest that must not go. */
    const attacks: readonly (readonly [string, (place: Place) => Promise<string>])[] = [
      [
        'an image in an index that an index names as an image',
        async ({ put }) => {
          const image = makeImage('grandchild');
          const inner = makeIndex([image]);
          const outer = makeManifest(indexType, {
            mediaType: indexType,
            manifests: [describeAs(imageType, inner)],
          });
          for (const each of [image, inner]) await put(each);
          await put(outer, 'v1');
          return image.digest;
        },
      ],
      [
        'a layer that is a manifest',
        async ({ put, blob, empty }) => {
          const layer = makeImage('layer');
          await blob(layer.body);
          await put(layer);
          const layers = [describeAs(layerType, layer)];
          await put(makeManifest(imageType, { mediaType: imageType, config: configOf(empty), layers }), 'v1');
          return layer.digest;
        },
      ],
      [
        'a layer of any bytes',
        async ({ put, blob, empty }) => {
          const body = 'no manifest at all';
          const digest = await blob(body);
          const layers = [describeAs(layerType, { digest, body })];
          await put(makeManifest(imageType, { mediaType: imageType, config: configOf(empty), layers }), 'v1');
          return digest;
        },
      ],
      [
        'a configuration that is a manifest',
        async ({ put, blob }) => {
          const inner = makeImage('configuration');
          await blob(inner.body);
          await put(inner);
          const config = describeAs(configType, inner);
          await put(makeManifest(imageType, { mediaType: imageType, config, layers: [] }), 'v1');
          return inner.digest;
        },
      ],
      [
        'a layer of an image in an index in an index',
        async ({ put, blob, empty }) => {
          const body = 'deep down';
          const digest = await blob(body);
          const layers = [describeAs(layerType, { digest, body })];
          const image = makeManifest(imageType, { mediaType: imageType, config: configOf(empty), layers });
          const inner = makeIndex([image]);
          for (const each of [image, inner]) await put(each);
          await put(makeIndex([inner]), 'v1');
          return digest;
        },
      ],
      [
        'a subject',
        async ({ put, empty }) => {
          const subject = makeImage('subject');
          await put(subject);
          const content = { config: configOf(empty), layers: [], subject: describeAs(imageType, subject) };
          await put(makeManifest(imageType, { mediaType: imageType, ...content }), 'v1');
          return subject.digest;
        },
      ],
      [
        "an image in an index that is a subject's",
        async ({ put, empty }) => {
          const image = makeImage('of the subject');
          const subject = makeIndex([image]);
          for (const each of [image, subject]) await put(each);
          const content = { config: configOf(empty), layers: [], subject: describeAs(indexType, subject) };
          await put(makeManifest(imageType, { mediaType: imageType, ...content }), 'v1');
          return image.digest;
        },
      ],
      [
        'what only a reader of Go sees: another case, and a list that is there twice',
        async ({ put }) => {
          const image = makeImage('hidden');
          const inner = makeIndex([image]);
          for (const each of [image, inner]) await put(each);
          const list = JSON.stringify([describeAs(indexType, inner)]);
          const text = `{"schemaVersion":2,"mediaType":"${indexType}","Manifests":${list},"manifests":[{}]}`;
          await put(makeManifest(indexType, text), 'v1');
          return image.digest;
        },
      ],
    ];
    for (const [what, attack] of attacks)
      test(`${what} is under it`, async () => {
        const place = await open();
        const digest = await attack(place);
        for (const object of ['manifests', 'blobs']) {
          const before = (await place.ask('HEAD', object, digest)).status;
          const refused = await place.ask('DELETE', object, digest);
          assert.equal(refused.status, 403, `${object}: ${refused.body.toString()}`);
          assert.match(sentence(refused), new RegExp(`^alice may not delete .*${place.repository}:v1`));
          assert.equal((await place.ask('HEAD', object, digest)).status, before);
        }
      });
    const dataOf = (digest: string) => {
      const hex = digest.slice('sha256:'.length);
      return path.join(registry.storageDir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
    };
    /** An image with one layer of these bytes. */
    const pushImage = async ({ put, blob, empty }: Place, body: string, reference?: string) => {
      const layer = await blob(body);
      const layers = [describeAs(layerType, { digest: layer, body })];
      const image = makeManifest(imageType, { mediaType: imageType, config: configOf(empty), layers });
      await put(image, reference);
      return { ...image, layer };
    };

    test('what it does not reach is deleted as ever: an image, a layer, what points to it', async () => {
      const place = await open();
      const tagged = await pushImage(place, 'tagged', 'v1');
      const free = await pushImage(place, 'free');
      const content = { config: configOf(place.empty), layers: [], subject: describeAs(imageType, tagged) };
      const referrer = makeManifest(imageType, { mediaType: imageType, ...content });
      await place.put(referrer);
      for (const [object, digest] of [
        ['manifests', free.digest],
        ['blobs', free.layer],
        ['manifests', referrer.digest],
      ] as const)
        assert.equal((await place.ask('DELETE', object, digest)).status, 202);
      assert.equal((await place.ask('HEAD', 'blobs', free.layer)).status, 404);
      assert.equal((await place.ask('GET', 'manifests', 'v1')).body.toString(), tagged.body);
      assert.equal((await place.ask('GET', 'blobs', tagged.layer)).body.toString(), 'tagged');
    });

    test('what the registry takes for no digest is refused as that, and is no fault of the registry', async () => {
      const place = await open();
      await pushImage(place, 'tagged', 'v1');
      const { layer } = await pushImage(place, 'free');
      const inCapitals = layer.toUpperCase().replace('SHA', 'sha');
      for (const digest of [inCapitals, 'md5:00', 'a+b:00']) {
        const refused = await place.ask('DELETE', 'blobs', digest);
        assert.deepEqual([refused.status, errorCodeOf(refused)], [400, 'DIGEST_INVALID'], digest);
      }
      assert.equal((await place.ask('HEAD', 'blobs', layer)).status, 200);
    });

    test('an index of layers, as build caches have them, hinders no other delete', async () => {
      const place = await open();
      const bodies = ['not JSON', '{"like": "JSON"}', 'x'.repeat(5_000_000)];
      const layers = await Promise.all(
        bodies.map(async (body) => ({ body, digest: await place.blob(body) })),
      );
      const manifests = layers.map((layer) => describeAs(layerType, layer));
      await place.put(makeManifest(indexType, { mediaType: indexType, manifests }), 'v1');
      const free = await pushImage(place, 'free');
      for (const { digest } of layers)
        for (const object of ['manifests', 'blobs'])
          assert.equal((await place.ask('DELETE', object, digest)).status, 403);
      assert.equal((await place.ask('DELETE', 'manifests', free.digest)).status, 202);
    });

    test('a tag whose manifest has gone hinders nothing; one that cannot be read is named, and whoever may overwrite goes on', async () => {
      const place = await open();
      const gone = makeImage('gone');
      await place.put(gone, 'v1');
      const hex = gone.digest.slice('sha256:'.length);
      await rm(path.join(place.files, '_manifests/revisions/sha256', hex), { recursive: true });
      assert.equal((await place.ask('GET', 'manifests', 'v1', { 'Cache-Control': 'no-cache' })).status, 404);
      const [one, two, three] = [makeImage('one'), makeImage('two'), makeImage('three')];
      for (const each of [one, two]) await place.put(each);
      assert.equal((await place.ask('DELETE', 'manifests', one.digest)).status, 202);
      await place.put(makeImage('broken'), 'v-broken');
      await place.put(three, 'v3');
      await writeFile(dataOf(makeImage('broken').digest), 'no manifest any more');
      const refused = await place.ask('DELETE', 'manifests', two.digest);
      assert.equal(refused.status, 502);
      assert.equal(
        sentence(refused),
        `It cannot be told what the immutable tag ${place.repository}:v-broken names: the registry answered 500. So nothing that it may need is deleted. A user with the action overwrite may delete it; or repair the tag, or remove it at the registry.`,
      );
      // What another tag surely has is refused for that.
      assert.equal((await place.ask('DELETE', 'manifests', three.digest)).status, 403);
      assert.equal((await place.ask('DELETE', 'manifests', two.digest, asChief)).status, 202);
    });

    test('so is one of whose index a part cannot be read', async () => {
      const place = await open();
      const [child, free] = [makeImage('child'), makeImage('free')];
      for (const each of [child, free]) await place.put(each);
      await place.put(makeIndex([child]), 'v-part');
      const data = dataOf(child.digest);
      await writeFile(data, 'no manifest any more');
      const refused = await place.ask('DELETE', 'manifests', free.digest);
      assert.deepEqual(
        [refused.status, sentence(refused).includes(`:v-part names (in it ${child.digest})`)],
        [502, true],
      );
      await writeFile(data, child.body);
      assert.equal((await place.ask('DELETE', 'manifests', free.digest)).status, 202);
    });
  },
);
