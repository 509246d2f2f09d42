import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  parseManifest,
  readPlatform,
  sumBytes,
  type Manifest,
} from '../../../../src/console/registry/image/manifest.ts';
import { sumManifests } from '../../../../src/console/registry/image/read-manifest.ts';

const digestOf = (digit: string) => `sha256:${digit.repeat(64)}`;
const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string];
const oci = 'application/vnd.oci.image.manifest.v1+json';
const imageConfig = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const parse = (content: object | string, type = oci) =>
  parseManifest(Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)), type);
const image = {
  mediaType: oci,
  config: { mediaType: imageConfig, digest: a, size: 10 },
  layers: [
    { mediaType: layerType, digest: b, size: 100 },
    { mediaType: layerType, digest: c, size: 1000 },
  ],
};
const artifact = (config: object, layer: object, more = {}) => ({
  config: { digest: a, size: 2, ...config },
  layers: [{ digest: b, size: 3, ...layer }],
  ...more,
});

describe('what a manifest is', () => {
  for (const [kind, content] of [
    ['image', image],
    ['image', artifact({ mediaType: 'application/vnd.docker.container.image.v1+json' }, {})],
    ['chart', artifact({ mediaType: 'application/vnd.cncf.helm.config.v1+json' }, {})],
    [
      'signature',
      artifact({ mediaType: imageConfig }, { mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }),
    ],
    ['signature', artifact({}, {}, { artifactType: 'application/vnd.cncf.notary.signature' })],
    ['sbom', artifact({}, {}, { artifactType: 'application/spdx+json' })],
    [
      'sbom',
      artifact(
        { mediaType: imageConfig },
        {
          mediaType: 'application/vnd.in-toto+json',
          annotations: { 'in-toto.io/predicate-type': 'https://spdx.dev/Document' },
        },
      ),
    ],
    ['attestation', artifact({ mediaType: imageConfig }, { mediaType: 'application/vnd.in-toto+json' })],
    ['artifact', artifact({ mediaType: 'application/vnd.oci.empty.v1+json' }, { mediaType: 'text/plain' })],
    ['artifact', { blobs: [{ digest: a, size: 1 }] }],
    ['index', { manifests: [] }],
    ['schema1', { schemaVersion: 1, name: 'x', fsLayers: [{ blobSum: a }] }],
    ['unknown', {}],
    ['unknown', { manifests: 'none' }],
    ['unknown', '[]'],
    ['unknown', 'null'],
    ['unknown', '{"layers": ['],
    ['unknown', ''],
  ] as const)
    test(`${kind}: ${JSON.stringify(content).slice(0, 70)}`, () => assert.equal(parse(content).kind, kind));

  test('goes by the type that it names, else by that of the answer', () => {
    assert.equal(parse({}, 'text/plain').mediaType, 'text/plain');
    assert.equal(parse(image, 'text/plain').mediaType, oci);
  });
});

/** As of a manifest of 9 bytes. */
const bytesOf = (manifest: Manifest): number | null =>
  sumManifests([{ digest: 'sha256:0', mediaType: manifest.mediaType, body: Buffer.alloc(9), manifest }]);

describe('sizes', () => {
  test('of an image are those of manifest, config and layers', () =>
    assert.equal(bytesOf(parse(image)), 1110 + 9));

  for (const size of [1e300, -1, 0.5, '5', null, undefined, 2 ** 53, Number.NaN])
    test(`${String(size)} is none`, () => {
      const layers = [{ ...image.layers[0], size }];
      const read = parse({ ...image, layers });
      assert.equal(read.layers[0]?.bytes, null);
      assert.equal(bytesOf(read), null);
    });

  test('that are too many to add up are none', () => {
    assert.equal(sumBytes(Array.from({ length: 9 }, () => ({ bytes: 2 ** 50 }))), null);
  });
});

describe('an index', () => {
  const about = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': a,
  };
  const entries = [
    { digest: a, size: 1, platform: { os: 'linux', architecture: 'amd64' } },
    { digest: b, size: 1, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    { digest: c, size: 1, platform: { os: 'unknown', architecture: 'unknown' }, annotations: about },
  ];

  test('has platforms, and BuildKit’s attestations apart', () => {
    const { platforms, attestations } = parse({ manifests: entries });
    assert.deepEqual(
      platforms.map(({ digest, platform }) => [digest, platform]),
      [
        [a, 'linux/amd64'],
        [b, 'linux/arm/v7'],
      ],
    );
    assert.deepEqual(
      attestations.map((each) => [each.about, each.descriptor.digest]),
      [[a, c]],
    );
  });

  test('is read without what is no descriptor', () => {
    const manifests = [null, 1, 'x', [], {}, { digest: 'sha256:zz' }, { digest: 5 }, entries[0]];
    assert.equal(parse({ manifests }).platforms.length, 1);
  });
});

describe('a platform', () => {
  for (const [value, shown] of [
    [{ os: 'linux', architecture: 'amd64', variant: '' }, 'linux/amd64'],
    [{ os: 'linux', architecture: 'arm64', variant: 'v8' }, 'linux/arm64/v8'],
    [
      { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.1234' },
      'windows/amd64 (10.0.17763.1234)',
    ],
    [{ os: 'linux', architecture: 'amd64', 'os.version': '<b>' }, 'linux/amd64'],
    [{ os: '<script>', architecture: 'amd64' }, null],
    [{ os: 'x'.repeat(33), architecture: 'amd64' }, null],
    [{ os: 'unknown', architecture: 'unknown' }, null],
    [{ os: 'linux' }, null],
    ['linux/amd64', null],
    [null, null],
  ] as const)
    test(JSON.stringify(value).slice(0, 60), () => assert.equal(readPlatform(value), shown));
});

test('any JSON is read without an error, to what its types say', () => {
  const digest = fc.constantFrom(a, b, 'sha256:', 'x');
  const leaf = fc.oneof(fc.jsonValue({ maxDepth: 2 }), digest, fc.double());
  const object = (names: readonly string[], value: fc.Arbitrary<unknown>) =>
    fc.record(Object.fromEntries(names.map((name) => [name, value])), { requiredKeys: [] });
  const descriptor = object(['digest', 'size', 'mediaType', 'platform', 'annotations', 'artifactType'], leaf);
  const value = fc.oneof(leaf, descriptor, fc.array(descriptor, { maxLength: 4 }));
  const fields = [
    'config',
    'layers',
    'manifests',
    'blobs',
    'fsLayers',
    'annotations',
    'mediaType',
    '__proto__',
  ];
  fc.assert(
    fc.property(object(fields, value), (content) => {
      const read = parse(content);
      const bytes = bytesOf(read);
      assert.ok(bytes === null || (Number.isSafeInteger(bytes) && bytes >= 0));
      for (const each of [...read.layers, ...read.platforms]) assert.match(each.digest, /^sha256:[a-f0-9]+$/);
    }),
    { numRuns: 500 },
  );
});
