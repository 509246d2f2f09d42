import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readManifestParts } from '../../../src/inventory/reading/manifest-parts.ts';

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const part = (letter: string, size: unknown, mediaType = 'application/octet-stream') => ({
  ...{ mediaType, digest: digest(letter), size },
});
const read = (manifest: unknown) => readManifestParts(Buffer.from(JSON.stringify(manifest)));
const ociImage = 'application/vnd.oci.image.config.v1+json';

describe('the parts of a manifest', () => {
  for (const [kind, config] of [
    ['image', ociImage],
    ['image', 'application/vnd.docker.container.image.v1+json'],
    ['chart', 'application/vnd.cncf.helm.config.v1+json'],
    ['artifact', 'application/vnd.oci.empty.v1+json'],
  ] as const)
    test(`a ${kind} with ${config}`, () => {
      const parts = read({
        schemaVersion: 2,
        config: part('a', 1, config),
        layers: [part('b', 10), part('b', 10)],
      });
      assert.equal(parts.kind, kind);
      assert.deepEqual(
        [...(parts.blobs ?? [])],
        [
          [digest('a'), 1],
          [digest('b'), 10],
        ],
      );
    });

  test('an index, with and without its media type; attestations have no platform', () => {
    const manifests = [
      { ...part('a', 1), platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
      { ...part('b', 1), platform: { os: 'unknown', architecture: 'unknown' } },
      { ...part('c', 1), platform: { os: '<script>', architecture: 'amd64' } },
    ];
    for (const mediaType of ['application/vnd.docker.distribution.manifest.list.v2+json', undefined]) {
      const parts = read({ schemaVersion: 2, mediaType, manifests });
      assert.equal(parts.kind, 'index');
      assert.deepEqual(
        parts.manifests.map(({ platform }) => platform),
        ['linux/arm64/v8', null, null],
      );
    }
  });

  test('of Docker schema 1 no size is known', () => {
    assert.deepEqual(read({ schemaVersion: 1, fsLayers: [{ blobSum: digest('a') }] }), {
      ...{ kind: 'image', blobs: null, manifests: [] },
    });
  });

  test('sizes that are none do not count', () => {
    const parts = read({
      layers: [part('a', -1), part('b', 1.5), part('c', '9'), part('d', 2 ** 60), part('e', 7)],
    });
    assert.deepEqual([...(parts.blobs ?? [])], [[digest('e'), 7]]);
  });

  test('whatever the bytes are', () => {
    fc.assert(fc.property(fc.json(), (text) => void readManifestParts(Buffer.from(text))));
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readManifestParts(Buffer.from(bytes))));
    for (const odd of [
      null,
      [],
      1,
      { config: null, layers: null },
      { manifests: [null, 1, []] },
      { layers: [null] },
    ])
      read(odd);
  });
});
