import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { deleteReference, readImageDeletion, readTagDeletion } from '../../src/console/changes/deletion.ts';
import { readRawManifest } from '../../src/console/registry/image/raw-manifest.ts';
import { readComparison } from '../../src/console/registry/image/read-comparison.ts';
import { readImage } from '../../src/console/registry/image/read-image.ts';
import type { RegistryClient } from '../../src/console/registry/registry-client.ts';
import { readRepositoryPage } from '../../src/console/registry/tag-rows.ts';
import { createPusher, indexType, type Descriptor } from '../support/console-images.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hostile = '<script>alert(1)</script>"\'&\u202e\u0000\n';

describe(
  'what the console reads of a registry',
  { timeout: 360_000, skip: unlessInstalled('docker-registry') },
  () => {
    let registry: Registry;
    let asked: string[] = [];
    let client: RegistryClient;
    before(async () => {
      registry = await startRegistry();
      client = {
        ask: async (method, path, { accept = [] } = {}) => {
          asked.push(`${method} ${path}`);
          const answer = await fetch(`${registry.url}${path}`, {
            method,
            headers: { accept: accept.join(', ') },
          });
          return {
            status: answer.status,
            headers: Object.fromEntries(answer.headers),
            body: Buffer.from(await answer.arrayBuffer()),
          };
        },
      };
    });
    after(() => registry.stop());

    const read = async (repository: string, reference: string, platform: string | null = null) => {
      const model = await readImage(client, null, { repository, reference, platform });
      assert.ok(model !== null);
      return model;
    };

    it('an index: its platforms, the usual one shown, and the attestations of BuildKit apart', async () => {
      const push = createPusher(registry.url, 'multi');
      const [amd, arm] = [await push.image(null), await push.image(null, { architecture: 'arm64' })];
      const statement = async (predicate: string) =>
        push.blob(randomBytes(50), 'application/vnd.in-toto+json', {
          annotations: { 'in-toto.io/predicate-type': predicate },
        });
      const layers = [
        await statement('https://spdx.dev/Document'),
        await statement('https://slsa.dev/provenance/v0.2'),
      ];
      const attestation = await push.image(null, { architecture: 'unknown', layers });
      const platform = (architecture: string, os = 'linux') => ({ platform: { os, architecture } });
      await push.manifest('latest', {
        mediaType: indexType,
        manifests: [
          { ...arm, ...platform('arm64') },
          { ...amd, ...platform('amd64') },
          {
            ...attestation,
            ...platform('unknown', 'unknown'),
            annotations: {
              'vnd.docker.reference.type': 'attestation-manifest',
              'vnd.docker.reference.digest': amd.digest,
            },
          },
        ],
      });
      const model = await read('multi', 'latest');
      assert.equal(model.kind, 'index');
      assert.deepEqual(
        model.platforms.items.map((each) => each.platform),
        ['linux/arm64', 'linux/amd64'],
      );
      assert.equal(model.shown?.digest, amd.digest);
      assert.deepEqual(
        model.referrers?.items.map(({ kind, artifactType }) => [kind, artifactType.text]),
        [
          ['sbom', 'https://spdx.dev/Document'],
          ['attestation', 'https://slsa.dev/provenance/v0.2'],
        ],
      );
      const other = await read('multi', 'latest', arm.digest);
      assert.equal(other.shown?.platform, 'linux/arm64');
      assert.deepEqual(other.referrers?.items, []);
    });

    it('an image of 40 layers, each with its step, and steps without one', async () => {
      const push = createPusher(registry.url, 'deep');
      const history = Array.from({ length: 41 }, (_, at) => ({
        created_by: `/bin/sh -c ${at === 40 ? '#(nop)  CMD ["run"]' : `make ${at}`}`,
        created: '2026-01-02T03:04:05Z',
        ...(at === 40 && { empty_layer: true }),
      }));
      await push.image('v1', { layers: 40, config: { history } });
      const { shown } = await read('deep', 'v1');
      assert.equal(shown?.layers.items.length, 40);
      assert.equal(shown.layers.items[39]?.step?.text, 'RUN make 39');
      assert.equal(shown.steps.items[40]?.text.text, 'CMD ["run"]');
      assert.equal(shown.steps.items[40].layer, null);
      assert.equal(shown.steps.items[0]?.createdMs, Date.parse('2026-01-02T03:04:05Z'));
    });

    it('a chart', async () => {
      const push = createPusher(registry.url, 'charts/web');
      const chart = { name: 'web', version: '1.2.3', appVersion: '9', description: hostile };
      const config = await push.blob(
        Buffer.from(JSON.stringify(chart)),
        'application/vnd.cncf.helm.config.v1+json',
      );
      const content = await push.blob(
        randomBytes(300),
        'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
      );
      await push.manifest('1.2.3', { config, layers: [content] });
      const model = await read('charts/web', '1.2.3');
      assert.equal(model.kind, 'chart');
      assert.equal(model.shown?.chart?.version?.text, '1.2.3');
      assert.doesNotMatch(model.shown.chart.description?.text ?? '', /[\u0000\u202e]/u);
    });

    it('a signature of cosign, and a referrer of a registry that lists none', async () => {
      const push = createPusher(registry.url, 'signed');
      const image = await push.image('v1');
      const tag = image.digest.replace(':', '-');
      const simple = await push.blob(randomBytes(200), 'application/vnd.dev.cosign.simplesigning.v1+json');
      await push.image(`${tag}.sig`, { layers: [simple] });
      const sbom = await push.image(null, {
        manifest: { artifactType: 'application/spdx+json', subject: image },
      });
      await push.manifest(tag, {
        mediaType: indexType,
        manifests: [{ ...sbom, artifactType: 'application/spdx+json', annotations: { note: hostile } }],
      });
      const { referrers } = await read('signed', 'v1');
      assert.deepEqual(referrers?.items.map(({ kind }) => kind).sort(), ['sbom', 'signature']);
      const page = await readRepositoryPage(client, null, { repository: 'signed', search: '', page: 1 });
      assert.deepEqual([page?.rows.map(({ tag: each }) => each), page?.attached], [['v1'], 2]);
      const found = await readRepositoryPage(client, null, {
        repository: 'signed',
        search: 'sha256-',
        page: 1,
      });
      assert.deepEqual(found?.rows.map(({ kind }) => kind).sort(), ['index', 'signature']);
    });

    it('an image whose labels and history are hostile, within the bounds of a page', async () => {
      const push = createPusher(registry.url, 'hostile');
      const Labels = Object.fromEntries(
        Array.from({ length: 1000 }, (_, at) => [`${hostile}-${at}`, hostile.repeat(4)]),
      );
      const history = Array.from({ length: 5000 }, () => ({ created_by: 'x'.repeat(50), created: '999999' }));
      const annotations = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`a${at}`, hostile]));
      await push.image('v1', {
        config: { config: { Labels, Cmd: ['x'.repeat(100_000)] }, history },
        manifest: { annotations },
      });
      const model = await read('hostile', 'v1');
      const labels = model.shown?.config?.labels;
      assert.equal(labels?.items.length, 50);
      assert.equal(labels.more, 950);
      assert.ok(Buffer.byteLength(JSON.stringify(model)) < 40_000);
      assert.doesNotMatch(JSON.stringify(model), /\\u0000|\u202e/u);
    });

    it('a configuration that is too large is not shown, and the image is', async () => {
      const push = createPusher(registry.url, 'large');
      await push.image('v1', { config: { pad: 'x'.repeat(2_100_000) } });
      const { shown } = await read('large', 'v1');
      assert.equal(shown?.config, null);
      assert.equal(shown.layers.items.length, 2);
    });

    it('the tags of a repository: sorted as people count, in pages, with their twins', async () => {
      const push = createPusher(registry.url, 'many');
      const image = await push.image('v10');
      await pushTags('many', image, ['v9', 'latest']);
      for (let at = 0; at < 50; at++) await push.image(`w${at}`, { layers: 1 });
      asked = [];
      const page = await readRepositoryPage(client, null, { repository: 'many', search: '', page: 1 });
      assert.ok(asked.length <= 51, `${asked.length} requests`);
      assert.deepEqual(
        page?.rows.slice(0, 4).map(({ tag }) => tag),
        ['latest', 'v9', 'v10', 'w0'],
      );
      assert.deepEqual(page.rows[0]?.twins.items, ['v9', 'v10']);
      assert.deepEqual([page.total, page.pages, page.rows.length], [53, 2, 40]);
      assert.ok(page.rows.every(({ bytes }) => bytes !== null));
      const last = await readRepositoryPage(client, null, { repository: 'many', search: '', page: 99 });
      assert.deepEqual([last?.page, last?.rows.length], [2, 13]);
      const found = await readRepositoryPage(client, null, { repository: 'many', search: 'V1', page: 1 });
      assert.deepEqual(
        found?.rows.map(({ tag }) => tag),
        ['v10'],
      );
      assert.equal(await readRepositoryPage(client, null, { repository: 'none', search: '', page: 1 }), null);
    });

    it('the size of an index: what its platforms share counts once, and its page says what the list says', async () => {
      const push = createPusher(registry.url, 'sharing');
      const layers = [await push.blob(randomBytes(9000), 'application/vnd.oci.image.layer.v1.tar+gzip')];
      const platforms = [];
      for (const architecture of ['amd64', 'arm64'])
        platforms.push({
          ...(await push.image(null, { architecture, layers })),
          platform: { os: 'linux', architecture },
        });
      const index = await push.manifest('all', { mediaType: indexType, manifests: platforms });
      const configs = await Promise.all(
        platforms.map(async ({ digest }) => {
          const answer = await fetch(`${registry.url}/v2/sharing/manifests/${digest}`, {
            headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
          });
          return ((await answer.json()) as { config: { size: number } }).config.size;
        }),
      );
      const expected = [9000, index.size, ...configs, ...platforms.map(({ size }) => size)];
      const bytes = expected.reduce((sum, each) => sum + each, 0);
      assert.equal((await read('sharing', 'all')).bytes, bytes);
      const page = await readRepositoryPage(client, null, { repository: 'sharing', search: '', page: 1 });
      assert.equal(page?.rows[0]?.bytes, bytes);
    });

    it('two tags compared, by the platform that both have', async () => {
      const push = createPusher(registry.url, 'compared');
      const shared = await push.blob(randomBytes(1000), 'application/vnd.oci.image.layer.v1.tar+gzip');
      const own = () => push.blob(randomBytes(10), 'application/vnd.oci.image.layer.v1.tar+gzip');
      const config = (Env: string[]) => ({ config: { Env, Cmd: ['run'] } });
      const arm = { platform: { os: 'linux', architecture: 'arm64' } };
      const inner = await push.image(null, {
        architecture: 'arm64',
        layers: [shared, await own()],
        config: config(['A=1']),
      });
      await push.manifest('a', {
        mediaType: indexType,
        manifests: [{ ...(await push.image(null)) }, { ...inner, ...arm }],
      });
      await push.image('b', {
        architecture: 'arm64',
        layers: [shared, await own()],
        config: config(['A=2']),
      });
      const model = await readComparison(client, { repository: 'compared', a: 'a', b: 'b', platform: null });
      assert.equal(model?.platform, 'linux/arm64');
      assert.deepEqual([model.sharedBytes, model.onlyABytes, model.onlyBBytes], [1000, 10, 10]);
      assert.deepEqual(
        model.settings.items.map(({ name, a, b }) => [name?.text, a?.text, b?.text]),
        [['A', '1', '2']],
      );
      const missing = { repository: 'compared', a: 'a', b: 'none', platform: null };
      assert.equal(await readComparison(client, missing), null);
    });

    it('the text of a manifest', async () => {
      const push = createPusher(registry.url, 'raw');
      const { digest } = await push.image('v1');
      const raw = await readRawManifest(client, 'raw', 'v1');
      assert.equal(raw?.digest, digest);
      assert.match(raw.text, /^\{\n {2}"schemaVersion": 2,/);
      assert.equal(await readRawManifest(client, 'raw', 'none'), null);
    });

    it('what a delete takes, and it is gone then with all its tags', async () => {
      const push = createPusher(registry.url, 'deleted');
      const image = await push.image('v1');
      await pushTags('deleted', image, ['v2']);
      await push.image('other');
      const tags = await readTagDeletion(client, null, 'deleted', ['v1', 'none', '<b>']);
      assert.ok(tags?.kind === 'tags');
      assert.deepEqual(
        tags.tags.map(({ tag, digest }) => [tag, digest]),
        [['v1', image.digest]],
      );
      assert.deepEqual(tags.tags[0]?.twins, ['v2']);
      const whole = await readImageDeletion(client, null, 'deleted', image.digest);
      assert.ok(whole?.kind === 'image');
      assert.deepEqual(whole.tags, ['v1', 'v2']);
      assert.equal(await deleteReference(client, 'deleted', image.digest), 'deleted');
      assert.equal(await deleteReference(client, 'deleted', image.digest), 'gone');
      assert.equal(await deleteReference(client, 'deleted', '../x'), 'failed');
      const page = await readRepositoryPage(client, null, { repository: 'deleted', search: '', page: 1 });
      assert.deepEqual(
        page?.rows.map(({ tag }) => tag),
        ['other'],
      );
    });

    /** Gives an image further tags. */
    const pushTags = async (repository: string, image: Descriptor, tags: readonly string[]) => {
      const place = `${registry.url}/v2/${repository}/manifests`;
      const got = await fetch(`${place}/${image.digest}`, { headers: { accept: image.mediaType } });
      const body = await got.arrayBuffer();
      for (const tag of tags)
        await fetch(`${place}/${tag}`, { method: 'PUT', body, headers: { 'content-type': image.mediaType } });
    };
  },
);
