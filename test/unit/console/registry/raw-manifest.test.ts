import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layOut } from '../../../../src/console/registry/image/raw-manifest.ts';

describe('the text of a manifest', () => {
  test('in one line is laid out', () => {
    assert.equal(layOut('{"a":[1,{"b":"c"}]}'), JSON.stringify({ a: [1, { b: 'c' }] }, null, 2));
  });

  for (const [what, text] of [
    ['of several lines', '{\n"a":1}'],
    ['with spaces', '{"a": 1}'],
    ['that names a field twice', '{"a":1,"a":2}'],
    ['that is no JSON', '{"a":'],
  ] as const)
    test(`${what} stays as it is`, () => assert.equal(layOut(text), text));

  test('with lists in lists by the thousand stays as it is: with the spaces before each line it would take hundreds of megabytes', () => {
    const nested = '['.repeat(2000) + ']'.repeat(2000);
    const text = `{"x":[${Array.from({ length: 30 }, () => nested).join(',')}]}`;
    assert.equal(layOut(text).length, text.length);
  });
});
