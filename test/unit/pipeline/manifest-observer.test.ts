import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePushed } from '../../../src/pipeline/serve/manifest-observer.ts';

const image = (config: unknown, ...layers: unknown[]) => JSON.stringify({ schemaVersion: 2, config, layers });
const id = '0a'.repeat(32);

for (const [text, imageBytes, imageId] of [
  [image({ size: 10 }, { size: 200 }, { size: 3000 }), 3210, null],
  [image({ size: 10 }), 10, null],
  [image({ size: 10 }, {}), null, null],
  [image(undefined, { size: 1 }), null, null],
  [image({ size: -1 }, { size: 1 }), null, null],
  [image({ size: '1' }), null, null],
  [image({ size: 1.5 }), null, null],
  [image({ size: Number.MAX_SAFE_INTEGER }, { size: 1 }), null, null],
  [image(null, null), null, null],
  [JSON.stringify({ schemaVersion: 2, manifests: [{ size: 5 }] }), null, null],
  [JSON.stringify(id), null, id],
  ['"latest"', null, null],
  ['', null, null],
  ['{', null, null],
  ['null', null, null],
  ['[]', null, null],
  ['7', null, null],
] as const) {
  test(text.slice(0, 60), () => assert.deepEqual(parsePushed(text), { imageBytes, imageId }));
}
