/** Raw header fields as in Node: name, value, name, value, … in the sender's order and case. */
export type RawHeaders = readonly string[];

/** Iterates over the fields. */
export function* headerPairs(rawHeaders: RawHeaders): Generator<[name: string, value: string]> {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) yield [rawHeaders[i] ?? '', rawHeaders[i + 1] ?? ''];
}

/** All values of one field, in order. */
export function headerValues(rawHeaders: RawHeaders, lowerCaseName: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    // Most names differ in length, which is cheaper to compare than their lower case.
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) {
      values.push(rawHeaders[i + 1] ?? '');
    }
  }
  return values;
}
