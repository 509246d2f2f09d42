import type { ForeignText, ShortList } from './models.ts';

const maxTextBytes = 1024;

/**
 * What could act instead of being read: control characters, lone surrogates, and the marks that turn text around, with which one name
 * looks like another. Line ends and tabs stay.
 */
const actingCharacters = /[^\P{Cc}\n\t]|\p{Cs}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Makes text of others fit to be shown: cut at 1 KB, in UTF-8, and free of characters that are not to be seen. */
export function toForeignText(text: string, maxBytes = maxTextBytes): ForeignText {
  const start = text.length > maxBytes ? text.slice(0, maxBytes) : text;
  const seen = start.replace(actingCharacters, '\ufffd');
  const bytes = Buffer.from(seen);
  if (bytes.length <= maxBytes) return { text: seen, isCut: start !== text };
  let end = maxBytes;
  while (isInsideCharacter(bytes[end])) end -= 1;
  return { text: bytes.toString('utf8', 0, end), isCut: true };
}

function isInsideCharacter(byte = 0): boolean {
  return (byte & 0xc0) === 0x80;
}

/** The first of a list, each as `show` gives it; null leaves one out. */
export function shorten<T, R>(list: readonly T[], max: number, show: (item: T) => R | null): ShortList<R> {
  const items = list.slice(0, max).flatMap((item) => {
    const shown = show(item);
    return shown === null ? [] : [shown];
  });
  return { items, more: Math.max(0, list.length - max) };
}

/** Each text of others in a model is cut to one of these, in bytes. */
const lengths = [1024, 512, 256, 128, 64];

/**
 * Cuts the texts of others in a model so that they have at most `maxBytes` together: the longest first, all alike, as far as 64 bytes
 * each.
 */
export function fitForeignTexts<T>(model: T, maxBytes: number): T {
  const sizes: number[] = [];
  mapTexts(model, (text) => {
    sizes.push(Buffer.byteLength(text.text));
    return text;
  });
  const sumAt = (length: number) => sizes.reduce((sum, size) => sum + Math.min(size, length), 0);
  const length = lengths.find((each) => sumAt(each) <= maxBytes) ?? lengths.at(-1);
  return mapTexts(model, (text) => {
    const cut = toForeignText(text.text, length);
    return cut.isCut ? cut : text;
  }) as T;
}

function mapTexts(value: unknown, change: (text: ForeignText) => ForeignText): unknown {
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, change));
  if (typeof value !== 'object' || value === null) return value;
  if (isForeignText(value)) return change(value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapTexts(each, change)]));
}

function isForeignText(value: object): value is ForeignText {
  return 'isCut' in value && 'text' in value;
}
