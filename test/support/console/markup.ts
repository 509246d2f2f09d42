import assert from 'node:assert/strict';

export type Element = { readonly tag: string; readonly attributes: ReadonlyMap<string, string> };
/** The elements of a page in their order, and all its text. */
export type Markup = { readonly elements: readonly Element[]; readonly text: string };

const voidTags = new Set(['area', 'base', 'br', 'hr', 'img', 'input', 'link', 'meta']);
const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
const start = /<([a-zA-Z][a-zA-Z0-9]*)/y;
const attribute = /\s+([a-zA-Z-]+)(?:="([^"<]*)")?/y;
const startEnd = /\s*(\/?)>/y;
const close = /<\/([a-zA-Z][a-zA-Z0-9]*)>/y;
const piece = /[^<]+/y;

/** Reads what the renderer writes, and nothing looser: each element closed, each attribute quoted, each "&" and "<" escaped. */
export function parseMarkup(html: string): Markup {
  const elements: Element[] = [];
  const open: string[] = [];
  let text = '';
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(html);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  while (at < html.length) {
    const tag = take(start)?.[1];
    if (tag !== undefined) {
      const attributes = new Map<string, string>();
      for (let match; (match = take(attribute)) !== null;) {
        const [, name = '', value = ''] = match;
        assert.ok(!attributes.has(name), `${name} stands twice in ${tag}`);
        attributes.set(name, decode(value));
      }
      const end = take(startEnd);
      assert.ok(end !== null, `The element ${tag} does not end: ${html.slice(at, at + 60)}`);
      elements.push({ tag, attributes });
      if (end[1] === '' && !voidTags.has(tag)) open.push(tag);
      continue;
    }
    const closed = take(close);
    if (closed !== null) {
      assert.equal(closed[1], open.pop());
      continue;
    }
    const words = take(piece);
    assert.ok(words !== null, `This is no markup: ${html.slice(at, at + 60)}`);
    text += decode(words[0]);
  }
  assert.deepEqual(open, []);
  return { elements, text };
}

function decode(text: string): string {
  return text.replace(/&([^;&\s]*;?)/g, (_, name: string) => {
    const character = entities[name.replace(/;$/, '')];
    assert.ok(name.endsWith(';') && character !== undefined, `This is no reference: &${name}`);
    return character;
  });
}
