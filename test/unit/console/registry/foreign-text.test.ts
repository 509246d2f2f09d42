import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fitForeignTexts, shorten, toForeignText } from '../../../../src/console/registry/foreign-text.ts';

describe('text of others', () => {
  for (const [what, text, shown, isCut = false] of [
    ['as it is', '<script>alert(1)</script> 镜像 🚢\n\t', '<script>alert(1)</script> 镜像 🚢\n\t'],
    ['without control characters', 'a\0b\x1b[31m\x7f\u0085', 'a\ufffdb\ufffd[31m\ufffd\ufffd'],
    ['without marks that turn it around', 'gpj.\u202eexe\u2066', 'gpj.\ufffdexe\ufffd'],
    ['without halves of characters', 'a\ud83d', 'a\ufffd'],
    ['whole at 1 KB', 'x'.repeat(1024), 'x'.repeat(1024)],
    ['cut at 1 KB', 'x'.repeat(1025), 'x'.repeat(1024), true],
    ['cut between characters', 'é'.repeat(513), 'é'.repeat(512), true],
    ['cut in no emoji', `x${'🚢'.repeat(300)}`, `x${'🚢'.repeat(255)}`, true],
  ] as const)
    test(what, () => assert.deepEqual(toForeignText(text), { text: shown, isCut }));

  test('is never longer than asked for, and well-formed', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.integer({ min: 4, max: 100 }),
        (text, max) => {
          const { text: shown } = toForeignText(text, max);
          assert.ok(Buffer.byteLength(shown) <= max);
          assert.equal(Buffer.from(shown).toString(), shown);
        },
      ),
    );
  });
});

test('a long list says how much more there is', () => {
  const list = Array.from({ length: 10_000 }, (_, index) => index);
  assert.deepEqual(shorten(list, 100, String).more, 9900);
  assert.deepEqual(shorten([1, 2], 100, String), { items: ['1', '2'], more: 0 });
});

describe('the texts of a model', () => {
  const long = toForeignText('x'.repeat(1024));
  test('stay as they are where they fit', () => {
    const model = { name: 'a', texts: [long, toForeignText('short')], none: null };
    assert.deepEqual(fitForeignTexts(model, 1100), model);
  });

  test('are cut, the long ones alone, where they do not', () => {
    const { texts, more } = fitForeignTexts({ texts: [long, long, toForeignText('short')], more: 3 }, 600);
    assert.deepEqual(
      texts.map(({ text, isCut }) => [text.length, isCut]),
      [
        [256, true],
        [256, true],
        [5, false],
      ],
    );
    assert.equal(more, 3);
  });

  test('stay cut that were', () => {
    const { texts } = fitForeignTexts({ texts: [{ text: 'ab', isCut: true }] }, 600);
    assert.deepEqual(texts, [{ text: 'ab', isCut: true }]);
  });
});
