import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assets } from '../../../src/console/assets/assets.ts';
import { locales } from '../../../src/console/messages/locale.ts';
import { renderPage } from '../../../src/console/pages/render-page.ts';
import { parseMarkup, type Markup } from '../../support/console/markup.ts';
import { sampleChrome } from '../../support/console/sample-chrome.ts';
import { samplePages } from '../../support/console/sample-pages.tsx';

/** The largest page, in bytes. */
const maxPageBytes = 30 * 1024;
const hostileTexts = [
  `<script>alert(1)</script>`,
  `"><img src=x onerror=alert(1)>`,
  `' autofocus onfocus='alert(1)`,
  `</textarea></title></style></script><svg onload=alert(1)>`,
  `<!-- ]]> -->`,
  `javascript:alert(1)//`,
  `&lt;b&gt; &#60;b&#62; &amp`,
  `\u202egpj.exe\u202c \u2066hidden\u2069`,
  `zero\u200bwidth\ufeff\u00ad\u2060 and\u00a0spaces\u3164`,
  `\u0000\u0007\u001b[31mred\u001b[0m\u0085`,
  `line\nbreak\ttab`,
  `half a pair \ud83d and \udc00`,
  `../../..//evil.example/%2e%2e`,
  'n'.repeat(255),
];

describe('pages of the console', () => {
  const plain = structure(renderAll('en'));
  for (const text of hostileTexts)
    it(`hold ${JSON.stringify(text.slice(0, 30))} as text, in the same elements, with links below /ui/`, () => {
      const pages = renderAll('en', (word) => `${text}${word}`);
      for (const [name, elements] of structure(pages)) assert.deepEqual(elements, plain.get(name), name);
      for (const [name, { elements }] of pages)
        for (const { attributes } of elements)
          for (const key of ['href', 'action', 'formAction', 'formaction'])
            if (attributes.has(key)) assert.match(attributes.get(key) ?? '', /^(\/ui\/|#)[!#-~]*$/, name);
    });

  for (const locale of locales)
    it(`are well-formed, named and at most 30 KB in ${locale}`, () => {
      for (const [name, { elements, text, bytes }] of renderAll(locale)) {
        const count = (tag: string) => elements.filter((element) => element.tag === tag).length;
        assert.ok(bytes <= maxPageBytes, `${name}: ${bytes} bytes`);
        assert.deepEqual([count('h1'), count('main'), count('title')], [1, 1, 1], name);
        assert.equal(count('caption'), count('table'), name);
        assert.equal(elements[0]?.attributes.get('lang'), locale);
        assert.doesNotMatch(text, /undefined|\[object|NaN|\{\d\}/, name);
      }
    });

  it('name each field', () => {
    for (const [name, { elements }] of renderAll('en')) {
      const labelled = new Set(elements.flatMap(({ attributes }) => attributes.get('for') ?? []));
      for (const { tag, attributes } of elements) {
        const isField = tag === 'input' && !['hidden', 'checkbox'].includes(attributes.get('type') ?? '');
        if (isField || tag === 'select') assert.ok(labelled.has(attributes.get('id') ?? ''), name);
      }
    }
  });

  it('ask for nothing but their own style and script, with no style or script inside', () => {
    for (const [name, { elements }] of renderAll('en'))
      for (const { tag, attributes } of elements) {
        assert.notEqual(tag, 'style', name);
        for (const attribute of attributes.keys()) assert.doesNotMatch(attribute, /^(on|style$)/i, name);
        const source = attributes.get('src') ?? (tag === 'link' ? attributes.get('href') : undefined);
        if (source !== undefined) assert.ok(assets.has(source), `${name}: ${source}`);
      }
  });

  it('send nothing that changes anything without the token of the session', () => {
    for (const [name, { elements }] of renderAll('en'))
      for (const [index, { tag, attributes }] of elements.entries())
        if (tag === 'form' && attributes.get('method') === 'post')
          assert.equal(elements[index + 1]?.attributes.get('name'), 'csrf', name);
  });

  it('write out what cannot be seen, or turns the order round', () => {
    const all = renderAll('en', (word) => `a\u202eb\u200bc${word}`);
    for (const [name, { text }] of all) assert.doesNotMatch(text, /[\u202e\u200b]/, name);
    assert.match(all.get('image')?.text ?? '', /aU\+202EbU\+200Bc/);
  });
});

function renderAll(
  locale: (typeof locales)[number],
  word?: (text: string) => string,
): Map<string, Markup & { readonly bytes: number }> {
  const chrome = sampleChrome(locale, word?.('alice'));
  return new Map(
    Object.entries(samplePages(chrome, word)).map(([name, page]) => {
      const html = renderPage(page);
      return [name, { ...parseMarkup(html.toString().replace('<!doctype html>', '')), bytes: html.length }];
    }),
  );
}

/** The elements with the names of their attributes; without those that write text out. */
function structure(pages: Map<string, Markup>): Map<string, readonly string[]> {
  return new Map(
    [...pages].map(([name, { elements }]) => [
      name,
      elements
        .filter(({ tag, attributes }) => tag !== 'bdi' && attributes.get('class') !== 'code-point')
        .map(({ tag, attributes }) => `${tag} ${[...attributes.keys()].join(' ')}`),
    ]),
  );
}
