import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseGlob } from '../../../src/policy/glob.ts';

const cases: readonly (readonly [pattern: string, matching: readonly string[], others: readonly string[]])[] =
  [
    ['**', ['a', 'a/b', 'a/b/c'], []],
    ['team-a/**', ['team-a/x', 'team-a/x/y'], ['team-a', 'team-ab/x', 'b/team-a/x', 'team-a/']],
    ['base/*', ['base/x', 'base/x-1'], ['base', 'base/x/y', 'bases/x']],
    ['*', ['a', 'abc'], ['a/b']],
    ['*/release', ['x/release'], ['release', 'x/y/release', 'x/release/y']],
    ['**/release', ['release', 'x/release', 'x/y/release'], ['x/release/y', 'xrelease', 'x/xrelease']],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z', 'a/z/z'], ['az', 'a/b', 'a/b/z/c']],
    ['**/a/**', ['a/b', 'x/a/y', 'x/a/a/y', 'x/y/a/z'], ['a', 'x/a', 'x/b/y']],
    ['a*c', ['ac', 'abc', 'abcc'], ['ab', 'a/c', 'bac']],
    ['*a*b*', ['ab', 'xaybz', 'aab'], ['ba', 'a', 'b']],
    ['v1.*', ['v1.', 'v1.2'], ['v1', 'v12']],
    ['plain', ['plain'], ['plain/x', 'xplain', 'Plain']],
  ];

for (const [pattern, matching, others] of cases) {
  test(`${pattern} matches what it should`, () => {
    const glob = parseGlob(pattern);
    for (const name of matching) assert.equal(glob.matches(name), true, name);
    for (const name of others) assert.equal(glob.matches(name), false, name);
  });
}

describe('a pattern that is refused', () => {
  for (const pattern of ['', '/a', 'a/', 'a//b', 'a**', '**a/b', 'a/b**', '***']) {
    test(JSON.stringify(pattern.slice(0, 10)), () => {
      assert.throws(() => parseGlob(pattern), RangeError);
    });
  }
});

test('any pattern and name agree with a regular expression that says the same', () => {
  const segment = fc.oneof(
    fc.constant('**'),
    fc
      .string({ unit: fc.constantFrom('a', 'b', '*', '.'), minLength: 1, maxLength: 4 })
      .filter((text) => !text.includes('**')),
  );
  const pattern = fc.array(segment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join('/'));
  const name = fc
    .array(fc.string({ unit: fc.constantFrom('a', 'b', '.'), minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 6,
    })
    .map((segments) => segments.join('/'));
  const toRegExp = (text: string) =>
    new RegExp(
      `^${text
        .replaceAll('.', '\\.')
        .split('/')
        .map((part, index, parts) => {
          if (part !== '**') return part.replaceAll('*', '[^/]*') + (index < parts.length - 1 ? '/' : '');
          return index < parts.length - 1 ? '(?:[^/]+/)*' : '[^/]+(?:/[^/]+)*';
        })
        .join('')}$`,
    );
  fc.assert(
    fc.property(pattern, name, (text, subject) => {
      const glob = parseGlob(text);
      assert.equal(glob.matches(subject), toRegExp(text).test(subject));
    }),
    { numRuns: 5000 },
  );
});

test('a pattern made for backtracking takes no time', { timeout: 10_000 }, () => {
  const glob = parseGlob(`${'*a'.repeat(60)}/${'**/a*a/'.repeat(15)}b`);
  const name = Array.from({ length: 64 }, () => 'aaa').join('/');
  for (let i = 0; i < 1000; i++) assert.equal(glob.matches(name), false);
});
