import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { markRepository, subjectOfTag } from '../../src/clean/scan/mark.ts';
import { scanRepositories } from '../../src/clean/scan/scan-repositories.ts';
import type { RepositoryScan } from '../../src/clean/scan/scan-types.ts';
import { listBlobs } from '../../src/clean/scan/stored-blobs.ts';
import { imageType, indexType } from '../support/manifest-registry.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { markModel, readStorageModel } from '../support/storage-model.ts';
import { digestOf } from '../support/storage-tree.ts';
import { pushBlob } from '../support/stored-blobs.ts';

const blob = (text: string) => Buffer.from(`blob ${text} ${'x'.repeat(100)}`);
const sha512 = (bytes: Buffer) => `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
const describeBlob = (digest: string, bytes: Buffer, kind = 'layer.v1.tar') => ({
  mediaType: `application/vnd.oci.image.${kind}`,
  digest,
  size: bytes.length,
});

describe('a scan of what a real registry has stored', () => {
  let registry: Registry;
  let scans: RepositoryScan[];
  const digests = {
    moved: '',
    latest: '',
    removed: '',
    index: '',
    children: ['', ''],
    about: '',
    unrelated: '',
  };

  const ask = (method: string, target: string, body?: string, type = imageType) =>
    fetch(`${registry.url}/v2/${target}`, {
      method,
      headers: { 'Content-Type': type, Accept: `${imageType}, ${indexType}` },
      ...(body === undefined ? {} : { body }),
    });
  const put = async (repository: string, reference: string, manifest: object, type = imageType) => {
    const body = JSON.stringify({ schemaVersion: 2, mediaType: type, ...manifest });
    const digest = digestOf(body);
    const answer = await ask('PUT', `${repository}/manifests/${reference || digest}`, body, type);
    assert.equal(answer.status, 201, await answer.text());
    return digest;
  };
  /** Pushes an image; without a tag by its digest. */
  const push = async (
    repository: string,
    tag: string,
    name: string,
    layers: readonly string[],
    more = {},
  ) => {
    const config = Buffer.from(JSON.stringify({ name }));
    await pushBlob(registry.url, repository, config);
    for (const layer of layers) await pushBlob(registry.url, repository, blob(layer));
    return put(repository, tag, {
      config: describeBlob(digestOf(config), config, 'config.v1+json'),
      layers: layers.map((layer) => describeBlob(digestOf(blob(layer)), blob(layer))),
      ...more,
    });
  };
  const scanAll = async () => {
    const found: RepositoryScan[] = [];
    for await (const scan of scanRepositories(registry.storageDir)) found.push(scan);
    return found;
  };
  const rootsOf = ({ tags }: RepositoryScan) =>
    tags.flatMap(({ name, digest }) => (digest === null || subjectOfTag(name) !== null ? [] : [digest]));

  before(async () => {
    registry = await startRegistry();
    digests.moved = await push('team/app', 'latest', 'first', ['base', 'one']);
    digests.latest = await push('team/app', 'latest', 'second', ['base', 'two']);
    digests.removed = await push('team/app', 'old', 'third', ['base', 'three']);
    assert.equal((await ask('DELETE', `team/app/manifests/${digests.removed}`)).status, 202);
    const children = ['amd64', 'arm64'].map((platform) => push('team/app', '', platform, ['base', platform]));
    digests.children = await Promise.all(children);
    const manifests = digests.children.map((digest) => ({ mediaType: imageType, digest, size: 1 }));
    digests.index = await put('team/app', 'multi', { manifests }, indexType);
    const subject = { mediaType: indexType, digest: digests.index, size: 1 };
    digests.about = await push('team/app', '', 'bill of materials', ['sbom'], { subject });
    const signed = `${digests.children[0]?.replace(':', '-')}.sig`;
    await push('team/app', signed, 'signature', ['signature']);
    digests.unrelated = await push('team/app', `sha256-${'0'.repeat(64)}.sig`, 'no signature', ['nothing']);

    const bytes = blob('by sha512');
    const started = await ask('POST', 'team/app/blobs/uploads/');
    const location = new URL(started.headers.get('location') ?? '', registry.url);
    location.searchParams.set('digest', sha512(bytes));
    const uploaded = await fetch(location, { method: 'PUT', body: new Uint8Array(bytes) });
    assert.equal(uploaded.status, 201);
    await push('team/app', 'sha512', 'by sha512', ['base'], { layers: [describeBlob(sha512(bytes), bytes)] });

    await push('team/app/nested', 'v1', 'nested', ['nested']);
    const mount = `mount=${digestOf(blob('base'))}&from=team/app`;
    assert.equal((await ask('POST', `team/blobs/uploads/?${mount}`)).status, 201);
    await pushBlob(registry.url, 'team-of-one/app', blob('never named'));
    assert.equal((await ask('POST', 'only-begun/blobs/uploads/')).status, 202);
    scans = await scanAll();
  });
  after(() => registry.stop());

  test('has its repositories, tags, manifests and layers, as a slow model reads them', () => {
    const model = readStorageModel(registry.storageDir);
    assert.deepEqual(
      scans.map(({ name }) => name),
      ['team', 'team/app', 'team/app/nested', 'team-of-one/app'],
    );
    for (const { name, tags, manifests, layers, faults } of scans) {
      const found = {
        tags: new Map(tags.map((tag) => [tag.name, tag.digest])),
        manifests: new Map(manifests.map(({ linkedAs, digest }) => [linkedAs, digest])),
        layers: new Map(layers.map(({ linkedAs, digest }) => [linkedAs, digest])),
      };
      assert.deepEqual(found, model.get(name));
      assert.deepEqual(faults, []);
    }
    assert.deepEqual([...model.keys()].sort(), scans.map(({ name }) => name).sort());
  });

  test('knows a blob that was uploaded by sha512 by both names', () => {
    const bytes = blob('by sha512');
    const found = scans.flatMap(({ layers }) => layers).filter(({ digest }) => digest === digestOf(bytes));
    assert.deepEqual(found.map(({ linkedAs }) => linkedAs).sort(), [digestOf(bytes), sha512(bytes)].sort());
  });

  test('knows when the tag was moved away from a manifest', () => {
    const lost = new Map(
      scans.flatMap(({ manifests }) => manifests).map((each) => [each.digest, each.lostTagMs]),
    );
    assert.equal(lost.has(digests.removed), false);
    assert.equal(lost.get(digests.latest), null);
    assert.ok((lost.get(digests.moved) ?? 0) > Date.now() - 600_000);
  });

  test('keeps what tags lead to, as the slow model does, and nothing else', () => {
    const model = readStorageModel(registry.storageDir);
    for (const scan of scans) {
      const repository = model.get(scan.name);
      assert.ok(repository);
      const mark = markRepository(scan, rootsOf(scan));
      const kept = [...scan.manifests, ...scan.layers].filter((found) => mark.keepsManifest(found));
      const expected = markModel(registry.storageDir, repository, rootsOf(scan));
      assert.deepEqual(new Set(kept.map(({ linkedAs }) => linkedAs)), expected);
      if (scan.name !== 'team/app') continue;
      for (const digest of [digests.latest, digests.index, ...digests.children, digests.about])
        assert.ok(expected.has(digest));
      for (const digest of [digests.moved, digests.unrelated, digestOf(blob('one')), digestOf(blob('three'))])
        assert.ok(!expected.has(digest));
    }
  });

  test('everything that was kept can be pulled when all else is gone', async () => {
    const remove = (file: string) =>
      rm(path.join(registry.storageDir, 'docker/registry/v2', file), { recursive: true });
    const linked = new Set<string>();
    const counts = { links: 0, data: 0, pulled: 0 };
    for (const scan of scans) {
      const mark = markRepository(scan, rootsOf(scan));
      for (const [folder, links] of [
        ['_manifests/revisions', scan.manifests],
        ['_layers', scan.layers],
      ] as const)
        for (const link of links) {
          if (mark.keepsLayer(link)) linked.add(link.digest);
          else await remove(`repositories/${scan.name}/${folder}/${link.linkedAs.replace(':', '/')}/link`);
          counts.links += mark.keepsLayer(link) ? 0 : 1;
        }
    }
    for await (const { digest } of listBlobs(registry.storageDir)) {
      if (linked.has(digest)) continue;
      await remove(`blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`);
      counts.data += 1;
    }
    const pull = async (repository: string, reference: string): Promise<void> => {
      const answer = await ask('GET', `${repository}/manifests/${reference}`);
      assert.equal(answer.status, 200, `${repository} ${reference}`);
      const text = await answer.text();
      counts.pulled += 1;
      const {
        config,
        layers = [],
        manifests = [],
      } = JSON.parse(text) as {
        config?: { digest: string };
        layers?: { digest: string }[];
        manifests?: { digest: string }[];
      };
      for (const child of manifests) await pull(repository, child.digest);
      for (const { digest } of config === undefined ? layers : [config, ...layers]) {
        const bytes = await ask('GET', `${repository}/blobs/${digest}`);
        assert.equal(bytes.status, 200, `${repository} ${digest}`);
        const body = Buffer.from(await bytes.arrayBuffer());
        assert.ok([digestOf(body), sha512(body)].includes(digest));
        counts.pulled += 1;
      }
    };
    for (const scan of scans)
      for (const { name, digest } of scan.tags) if (digest !== digests.unrelated) await pull(scan.name, name);
    await pull('team/app', digests.about);
    // These go: the first image and the signature of nothing with configuration and layer, the removed image's (and its
    // data), what was never named, and the link of the mount.
    assert.deepEqual(counts, { links: 10, data: 10, pulled: 25 });
    const after = await scanAll();
    assert.deepEqual(
      after.flatMap(({ faults }) => faults),
      [],
    );
  });
});
