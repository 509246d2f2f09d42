import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readManifestContent } from '../../../src/registry/manifest-content.ts';

const digestOf = (digit: string) => `sha256:${digit.repeat(64)}`;
const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(digestOf) as [string, string, string, string];
const read = (content: object | string) =>
  readManifestContent(Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)));

describe('what a manifest names', () => {
  test('of an image all, of which nothing but the subject is looked into', () => {
    const content = read({
      config: { digest: a, mediaType: 'application/vnd.oci.image.config.v1+json' },
      layers: [{ digest: b, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }],
      annotations: { 'org.opencontainers.image.base.digest': c, title: 'index.html' },
      subject: { digest: d },
    });
    assert.deepEqual(content, { named: [a, b, c, d], manifests: [d] });
  });

  test('of an index all entries are looked into, whatever their labels', () => {
    const manifests = [{ digest: a, mediaType: 'application/vnd.oci.image.manifest.v1+json' }, { digest: b }];
    assert.deepEqual(read({ manifests }).manifests, [a, b]);
  });

  test('schema 1 and artifacts', () => {
    const history = [{ v1Compatibility: JSON.stringify({ config: { Image: c } }) }];
    assert.deepEqual(read({ fsLayers: [{ blobSum: a }, { blobSum: b }], history }), {
      named: [a, b, c],
      manifests: [],
    });
    assert.deepEqual(read({ blobs: [{ digest: a }], subject: { digest: b } }).manifests, [b]);
  });

  for (const [what, text] of [
    ['a field in another case', `{"Layers":[{"digest":"${a}"}]}`],
    ['a field that comes twice', `{"layers":[{"digest":"${a}"}],"layers":[{}]}`],
    ['a field that nobody knows', `{"more":{"deep":[["${a}"]]}}`],
    ['a layer that says it is an index', `{"layers":[{"digest":"${a}","mediaType":"x/index"}]}`],
    ['an escaped digest', `{"manifests":[{"digest":"sha256\\u003a${'\\u0061'.repeat(64)}"}]}`],
    ['an escaped name', `{"m\\u0061nifests":[{"digest":"${a}"}]}`],
    ['upper case', `{"manifests":[{"digest":"sha256:${'A'.repeat(64)}"}]}`],
    ['spaces in front', `${' '.repeat(500)}\r\n\t{"manifests":[{"digest":"${a}"}]}`],
    ['a byte order mark', `\ufeff{"manifests":[{"digest":"${a}"}]}`],
    ['an end that is missing', `{"layers":[{"digest":"${a}"`],
    ['the name of a field in a text before', `{"x":"\\"layers\\":[","manifests":[{"digest":"${a}"}]}`],
    ['the same as a layer and in an index', `{"layers":[{"digest":"${a}"}],"manifests":[{"digest":"${a}"}]}`],
  ] as const)
    test(`is looked into: ${what}`, () => {
      assert.deepEqual(read(text), { named: [a], manifests: [a] });
    });

  test('an escaped name of a leaf is that leaf; what is after a text with brackets, too', () => {
    assert.deepEqual(read(`{"x":"}]{[\\\\","layer\\u0073":[{"digest":"${a}"}]}`).manifests, []);
  });

  test('nothing where there is no object, or no digest', () => {
    for (const text of [
      '',
      'null',
      '[]',
      `["${a}"]`,
      `"${a}"`,
      'tar',
      '{}',
      '{"x":"a:b","y":":","z":"sha256:0a"}',
    ])
      assert.deepEqual(read(text), { named: [], manifests: [] });
  });

  test('any JSON: every digest in it is found, and none that is an entry is passed over', () => {
    const digest = fc.stringMatching(/^sha(256|512):[0-9a-f]{64}$/);
    const leaf = fc.oneof(digest, fc.string(), fc.double(), fc.constant(null));
    fc.assert(
      fc.property(
        fc.array(digest, { maxLength: 4 }),
        fc.dictionary(fc.string(), fc.array(fc.dictionary(fc.string(), leaf))),
        fc.boolean(),
        (entries, more, first) => {
          const manifests = entries.map((each) => ({ digest: each }));
          const manifest = first ? { manifests, ...more } : { ...more, manifests };
          const { named, manifests: found } = read(manifest);
          for (const each of entries) assert.ok(found.includes(each));
          const inside = JSON.stringify(manifest).match(/sha(?:256|512):[0-9a-f]{64}/g) ?? [];
          for (const each of inside) assert.ok(named.includes(each));
        },
      ),
    );
  });

  test('takes a time in proportion to the length: the worst of 4 MiB end', { timeout: 240_000 }, () => {
    const long = 4_000_000;
    for (const text of [
      `{"a":"${':'.repeat(long)}"}`,
      `{"a":"${`${'a'.repeat(63)}:`.repeat(long / 64)}"}`,
      `{"layers":${'['.repeat(long)}`,
      `{"a":"${'\\u0061'.repeat(long / 6)}"}`,
      `{"layers":[${',{}'.repeat(long / 3)}]}`,
      `{${'"layers":1,'.repeat(long / 12)}"a":1}`,
    ])
      read(text);
  });
});
