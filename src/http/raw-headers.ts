/** Header fields as Node gives and takes them raw: name, value, name, value, … in the sender's order and case. */
export type RawHeaders = readonly string[];

/** Field by field. */
export function* headerPairs(rawHeaders: RawHeaders): Generator<[name: string, value: string]> {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) yield [rawHeaders[i] ?? '', rawHeaders[i + 1] ?? ''];
}

/** All values of one field, in order. */
export function headerValues(rawHeaders: RawHeaders, lowerCaseName: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    // Most names differ in length already, which costs less to see than their lower case.
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) {
      values.push(rawHeaders[i + 1] ?? '');
    }
  }
  return values;
}
