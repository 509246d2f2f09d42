import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  describeStep,
  parseChart,
  parseImageConfig,
} from '../../../../src/console/registry/image/image-config.ts';
import { pairLayers } from '../../../../src/console/registry/image/layer-steps.ts';
import { parseManifest } from '../../../../src/console/registry/image/manifest.ts';

const parse = (content: unknown) => parseImageConfig(Buffer.from(JSON.stringify(content)));
const digestOf = (index: number) => `sha256:${index.toString(16).padStart(64, '0')}`;
const layersOf = (count: number) =>
  parseManifest(
    Buffer.from(
      JSON.stringify({ layers: Array.from({ length: count }, (_, at) => ({ digest: digestOf(at) })) }),
    ),
    '',
  ).layers;

describe('the settings of an image', () => {
  test('are read', () => {
    const read = parse({
      os: 'linux',
      architecture: 'arm64',
      created: '2026-01-02T03:04:05.678901234Z',
      config: {
        Cmd: ['sh', '-c', 'echo "hi there"'],
        Entrypoint: ['/bin/tini', '--'],
        User: '65532:65532',
        WorkingDir: '/srv',
        ExposedPorts: { '80/tcp': {} },
        Volumes: { '/data': {} },
        Env: ['PATH=/bin', 'A=b'],
        Labels: { maintainer: '<script>alert(1)</script>' },
      },
    });
    assert.equal(read?.platform, 'linux/arm64');
    const { config } = read;
    assert.equal(config.command?.text, 'sh -c "echo \\"hi there\\""');
    assert.equal(config.entrypoint?.text, '/bin/tini --');
    assert.equal(config.user?.text, '65532:65532');
    assert.equal(config.workingDir?.text, '/srv');
    assert.deepEqual(
      config.ports.items.map(({ text }) => text),
      ['80/tcp'],
    );
    assert.deepEqual(
      config.volumes.items.map(({ text }) => text),
      ['/data'],
    );
    assert.deepEqual(
      config.environment.items.map(({ text }) => text),
      ['PATH=/bin', 'A=b'],
    );
    assert.deepEqual(
      config.labels.items.map((pair) => pair.map(({ text }) => text)),
      [['maintainer', '<script>alert(1)</script>']],
    );
    assert.equal(config.createdMs, Date.parse('2026-01-02T03:04:05.678Z'));
  });

  for (const created of [
    '999999-01-01T00:00:00Z',
    '+275760-09-13T00:00:00Z',
    '0001-01-01T00:00:00Z',
    'x',
    5,
    '2026-02-02',
  ])
    test(`created ${String(created)} is no time`, () =>
      assert.equal(parse({ created })?.config.createdMs, null));

  test('of 10,000 labels 50 are shown, and the rest counted', () => {
    const Labels = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, at) => [`label-${at}`, 'x'.repeat(60)]),
    );
    const labels = parse({ config: { Labels } })?.config.labels;
    assert.deepEqual([labels?.items.length, labels?.more], [50, 9950]);
  });

  test('are none where there is no object', () => {
    for (const body of ['', '[]', '"x"', '{']) assert.equal(parseImageConfig(Buffer.from(body)), null);
  });

  test('a configuration is read whatever it holds', () => {
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.array(fc.string(), { maxLength: 3 }));
    const names = ['Cmd', 'Entrypoint', 'User', 'ExposedPorts', 'Volumes', 'Env', 'Labels', '__proto__'];
    const settings = fc.record(Object.fromEntries(names.map((name) => [name, value])), { requiredKeys: [] });
    const history = fc.array(
      fc.oneof(value, fc.record({ created_by: value, created: value, empty_layer: value })),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(settings, history, value, (config, steps, created) => {
        const read = parse({ config, history: steps, created });
        assert.ok(read !== null);
        pairLayers(layersOf(3), read.history);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the steps of an image', () => {
  const history = [
    { created_by: '/bin/sh -c #(nop) ADD file:1 in / ' },
    { created_by: '/bin/sh -c #(nop)  CMD ["bash"]', empty_layer: true },
    { created_by: 'RUN /bin/sh -c apt-get update # buildkit' },
  ];

  test('make the layers, but for empty ones', () => {
    const { layers, steps } = pairLayers(layersOf(2), parse({ history })?.history ?? []);
    assert.deepEqual(
      layers.items.map(({ step }) => step?.text),
      ['ADD file:1 in /', 'RUN apt-get update'],
    );
    assert.deepEqual(
      steps.items.map(({ text, layer }) => [text.text, layer?.digest ?? null]),
      [
        ['ADD file:1 in /', digestOf(0)],
        ['CMD ["bash"]', null],
        ['RUN apt-get update', digestOf(1)],
      ],
    );
  });

  test('are paired with no layer where their number does not fit', () => {
    const { layers, steps } = pairLayers(layersOf(3), parse({ history })?.history ?? []);
    assert.ok(layers.items.every(({ step }) => step === null));
    assert.ok(steps.items.every(({ layer }) => layer === null));
  });

  test('of a history of 100,000 100 are shown', () => {
    const many = Array.from({ length: 100_000 }, () => ({ created_by: 'RUN x' }));
    const { steps } = pairLayers(layersOf(1), parse({ history: many })?.history ?? []);
    assert.equal(steps.items.length, 100);
    assert.ok(steps.more > 0);
  });

  for (const [written, shown] of [
    ['/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'],
    ['/bin/sh -c make', 'RUN make'],
    ['RUN /bin/sh -c make # buildkit', 'RUN make'],
    ['RUN |1 VERSION=2 /bin/sh -c make # buildkit', 'RUN |1 VERSION=2 /bin/sh -c make'],
    ['COPY a b # buildkit', 'COPY a b'],
    ['bazel build ...', 'bazel build ...'],
    ['', ''],
  ] as const)
    test(`${written} reads ${shown}`, () => assert.equal(describeStep(written), shown));
});

test('a chart says its name and version', () => {
  const chart = parseChart(Buffer.from('{"name":"web","version":"1.2.3","description":5}'));
  assert.deepEqual(chart, {
    name: { text: 'web', isCut: false },
    version: { text: '1.2.3', isCut: false },
    appVersion: null,
    description: null,
  });
});
