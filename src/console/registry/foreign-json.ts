import { digestForm } from '../../registry/names/digest.ts';

/** An object in JSON that others wrote: nothing about its fields is known. */
export type ForeignObject = Readonly<Record<string, unknown>>;

/** No layer is larger: 1 PiB. */
const maxBytes = 2 ** 50;
/** RFC 3339, as Go writes it. */
const timeForm = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/** Lists, objects and fields that are parsed: 4 MiB of nothing but `[]` would hold up other requests for more than a second. */
const maxParts = 250_000;
/** What begins them. In texts it counts, too. */
const partMarks: readonly number[] = [...Buffer.from('[{:')];

/** Null: it is no JSON, or no object, or has more parts than anything that is shown. */
export function parseForeignObject(body: Buffer): ForeignObject | null {
  if (!hasFewParts(body)) return null;
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function hasFewParts(body: Buffer): boolean {
  if (body.length <= maxParts) return true;
  let parts = 0;
  for (const mark of partMarks)
    for (let at = body.indexOf(mark); at !== -1; at = body.indexOf(mark, at + 1))
      if (++parts > maxParts) return false;
  return true;
}

/** An object without fields where there is none. */
export function readObject(value: unknown): ForeignObject {
  return isObject(value) ? value : {};
}

export function isObject(value: unknown): value is ForeignObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An empty list where there is none. */
export function readList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Null where there is none, or an empty one. */
export function readText(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function readTexts(value: unknown): readonly string[] {
  return readList(value).filter((item) => typeof item === 'string');
}

/** The fields of an object whose values are texts. */
export function readPairs(value: unknown): readonly (readonly [string, string])[] {
  return Object.entries(readObject(value)).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string',
  );
}

/** A size in bytes; null: there is none, or none that can be. */
export function readBytes(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maxBytes
    ? value
    : null;
}

export function readDigest(value: unknown): string | null {
  return typeof value === 'string' && digestForm.test(value) ? value : null;
}

/** A time in milliseconds since 1970; null: there is none, or one before that, as Go's zero time, or after the year 9999. */
export function readTimeMs(value: unknown): number | null {
  if (typeof value !== 'string' || !timeForm.test(value)) return null;
  const ms = Date.parse(value);
  return Number.isNaN(ms) || ms < 0 ? null : ms;
}
