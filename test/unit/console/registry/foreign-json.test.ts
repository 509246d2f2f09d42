import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseForeignObject } from '../../../../src/console/registry/foreign-json.ts';

const parse = (text: string) => parseForeignObject(Buffer.from(text));

describe('an object that others wrote', () => {
  test('is read, with a list of very many texts', () => {
    const tags = Array.from({ length: 300_000 }, (_, index) => `v${index}`);
    assert.equal((parse(JSON.stringify({ tags }))?.['tags'] as unknown[]).length, tags.length);
  });

  test('is none where there is no JSON, or something else', () => {
    for (const text of ['', '{', '[]', '"x"', 'null']) assert.equal(parse(text), null, text);
  });

  for (const [what, inner] of [
    ['lists', '[]'],
    ['lists in lists', '['.repeat(9000) + ']'.repeat(9000)],
    ['objects', '{}'],
    ['fields', '{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}'],
  ] as const)
    test(`is not read with more ${what} than anything that is shown: that would hold up other requests`, () => {
      const count = Math.ceil(2_000_000 / inner.length);
      const text = `{"x":[${Array.from({ length: count }, () => inner).join(',')}]}`;
      assert.notEqual(JSON.parse(text), null);
      assert.equal(parse(text), null);
    });
});
