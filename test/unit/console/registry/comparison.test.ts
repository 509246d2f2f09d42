import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareImages } from '../../../../src/console/registry/image/comparison.ts';
import { parseManifest } from '../../../../src/console/registry/image/manifest.ts';

const digestOf = (digit: string) => `sha256:${digit.repeat(64)}`;
const layersOf = (digits: string) =>
  parseManifest(
    Buffer.from(
      JSON.stringify({ layers: Array.from(digits).map((each) => ({ digest: digestOf(each), size: 5 })) }),
    ),
    '',
  ).layers;
const configOf = (config: object) => ({ config });

test('layers that both have, and those that one has', () => {
  const found = compareImages(
    { layers: layersOf('abc'), config: null },
    { layers: layersOf('abd'), config: null },
  );
  const digests = (list: typeof found.shared) => list.items.map(({ digest }) => digest.slice(7, 8)).join('');
  assert.deepEqual([digests(found.shared), digests(found.onlyA), digests(found.onlyB)], ['ab', 'c', 'd']);
  assert.deepEqual([found.sharedBytes, found.onlyABytes, found.onlyBBytes], [10, 5, 5]);
  assert.deepEqual(found.settings, { items: [], more: 0 });
});

test('each layer with the step that made it, of the image that has it', () => {
  const config = {
    history: ['ADD base', 'COPY a', 'RUN b'].map((created_by, at) => ({
      created_by,
      empty_layer: at === 1,
    })),
  };
  const found = compareImages({ layers: layersOf('ab'), config }, { layers: layersOf('a'), config });
  const steps = (list: typeof found.shared) => list.items.map(({ step }) => step?.text ?? null);
  assert.deepEqual([steps(found.shared), steps(found.onlyA)], [['ADD base'], ['RUN b']]);
  const { shared } = compareImages({ layers: layersOf('a'), config }, { layers: layersOf('a'), config });
  assert.deepEqual(steps(shared), [null]);
});

test('settings that differ, by name where they have one', () => {
  const a = configOf({ Cmd: ['a'], Env: ['PATH=/bin', 'GONE=1'], Labels: { same: 'x' }, User: 'root' });
  const b = configOf({
    Cmd: ['a', 'b'],
    Env: ['PATH=/usr/bin', 'NEW='],
    Labels: { same: 'x' },
    User: 'root',
  });
  const { settings } = compareImages({ layers: [], config: a }, { layers: [], config: b });
  assert.deepEqual(
    settings.items.map((each) => [
      each.kind,
      each.name?.text ?? null,
      each.a?.text ?? null,
      each.b?.text ?? null,
    ]),
    [
      ['command', null, '["a"]', '["a","b"]'],
      ['environment', 'PATH', '/bin', '/usr/bin'],
      ['environment', 'GONE', '1', null],
      ['environment', 'NEW', null, ''],
    ],
  );
});

test('settings that differ behind what is shown of them differ', () => {
  const [a, b] = ['a', 'b'].map((end) => configOf({ User: 'x'.repeat(2000) + end }));
  const { settings } = compareImages({ layers: [], config: a ?? null }, { layers: [], config: b ?? null });
  assert.equal(settings.items.length, 1);
});

test('of 10,000 labels that differ a part is shown, and the rest counted', () => {
  const labels = (value: string) =>
    configOf({
      Labels: Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`label-${at}`, value])),
    });
  const { settings } = compareImages(
    { layers: [], config: labels('a') },
    { layers: [], config: labels('b') },
  );
  assert.equal(settings.items.length + settings.more, 10_000);
  assert.ok(settings.items.length < 100);
});
