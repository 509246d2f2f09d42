const msByUnit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const bytesByUnit = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** The longest delay of a Node timer (2^31-1 ms, 24.8 days); a longer one would fire at once. */
export const longestTimerMs = 2 ** 31 - 1;

/** Regular expressions (source text) for the JSON Schema: what parseDuration and parseSize accept. */
export const durationPattern = '^(0|[0-9]+(ms|s|m|h|d))$';
export const sizePattern = '^(0|[0-9]+(B|KiB|MiB|GiB))$';

/** Reads a duration such as `500ms`, `5s`, `10m`, `1h`, `1d` or `0`; returns milliseconds or throws a RangeError. */
export function parseDuration(text: string): number {
  return parseQuantity(text, msByUnit, 'duration');
}

/** Reads a size such as `512B`, `32KiB`, `4MiB`, `1GiB` or `0`; returns bytes or throws a RangeError. */
export function parseSize(text: string): number {
  return parseQuantity(text, bytesByUnit, 'size');
}

function parseQuantity(text: string, factors: Readonly<Record<string, number>>, noun: string): number {
  const units = Object.keys(factors).join(', ');
  const [, digits, unit = ''] = /^([0-9]+)([A-Za-z]*)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw new RangeError(
      `${JSON.stringify(text)} is not a ${noun}: write a whole number and a unit (${units})`,
    );
  }
  if (unit === '' && Number(digits) === 0) return 0;
  if (unit === '') throw new RangeError(`${digits} has no unit: add one of ${units}`);
  const factor = Object.hasOwn(factors, unit) ? factors[unit] : undefined;
  if (factor === undefined) throw new RangeError(`the unit ${unit} is unknown: use one of ${units}`);
  const value = Number(digits) * factor;
  // Above 2^53 the number would silently change.
  if (!Number.isSafeInteger(value)) throw new RangeError(`${digits}${unit} is too large`);
  return value;
}
