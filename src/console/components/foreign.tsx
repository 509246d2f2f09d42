import type { ComponentChildren } from 'preact';
import type { ForeignText } from '../registry/models.ts';

type ForeignProps = {
  /** What others wrote. */
  readonly text: string | ForeignText;
  /** What takes more bytes in the page is cut off. */
  readonly max?: number;
};

/** Characters that cannot be seen, or change the order of others; and spaces that look like the usual one. */
const deceptive =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]|(?![ \u3000])\p{Zs}/u;
const eachDeceptive = new RegExp(deceptive.source, 'gu');

/**
 * Shows text of others so that it looks like what it is: in its own direction, with invisible characters written out.
 * Whatever stands around it keeps its order.
 */
export function Foreign({ text, max = Infinity }: ForeignProps) {
  const given = typeof text === 'string' ? { text, isCut: false } : text;
  const shown = cut(given.text, max);
  const isCut = given.isCut || shown.length < given.text.length;
  if (/^[ -~]*$/.test(shown)) return isCut ? <>{shown}…</> : <>{shown}</>;
  return (
    <bdi>
      {writeOut(shown)}
      {isCut ? '…' : null}
    </bdi>
  );
}

/** The same for attributes, and for titles. */
export function visibleText(text: string): string {
  return text.replace(eachDeceptive, codeOf);
}

function writeOut(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let from = 0;
  for (const { 0: character, index } of text.matchAll(eachDeceptive)) {
    if (index > from) parts.push(text.slice(from, index));
    parts.push(<span class="code-point">{codeOf(character)}</span>);
    from = index + character.length;
  }
  parts.push(text.slice(from));
  return parts;
}

function codeOf(character: string): string {
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** Never between the halves of a surrogate pair. */
function cut(text: string, max: number): string {
  if (text.length * maxBytesOfUnit <= max) return text;
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += bytesOf(character);
    if (bytes > max) return text.slice(0, end);
    end += character.length;
  }
  return text;
}

/** Of an UTF-16 unit: one that is written out. */
const maxBytesOfUnit = 48;

/** What a character takes in a page. */
function bytesOf(character: string): number {
  if (deceptive.test(character)) return maxBytesOfUnit;
  if (/["&<>]/.test(character)) return '&quot;'.length;
  return Buffer.byteLength(character);
}
