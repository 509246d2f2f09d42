/**
 * A compiled glob. `*` matches any characters but `/`, or none. `**` matches any number of whole segments, at the end
 * at least one: `a/**` is everything below `a`, `**` everything, `**` + `/b` every `b` and `x/b`. Other characters
 * match themselves.
 */
export type Glob = {
  /** Takes at most time proportional to the product of the lengths of pattern and name. */
  matches(name: string): boolean;
};

/** Compiles a pattern. @throws RangeError that says what is wrong, as the rest of a sentence that begins with its name */
export function parseGlob(pattern: string): Glob {
  if (pattern === '') throw new RangeError('is empty');
  const segments = pattern.split('/');
  for (const segment of segments) {
    if (segment === '') throw new RangeError('has an empty segment: no "/" at its ends, and no "//"');
    if (segment !== '**' && segment.includes('**'))
      throw new RangeError('has a "**" that is not a whole segment: write "*", or put "/" around it');
  }
  if (!pattern.includes('*')) return { matches: (name) => name === pattern };
  const prefix = pattern.slice(0, pattern.indexOf('*'));
  if (prefix + '**' === pattern)
    return { matches: (name) => name.length > prefix.length && name.startsWith(prefix) };
  const parts = segments.map((segment) => (segment === '**' ? null : segment.split('*')));
  // When a "**" before it matches nothing, its slash is absent too.
  const suffix = pattern.slice(pattern.lastIndexOf('*') + 1).replace(/^\//, '');
  return {
    matches: (name) =>
      name.startsWith(prefix) && name.endsWith(suffix) && matchSegments(parts, name.split('/')),
  };
}

/** The texts between the stars of a segment; null: `**`. */
type Part = readonly string[] | null;

/**
 * Matches segment by segment; on a mismatch the last `**` takes one more segment. Backtracking to that one alone
 * suffices, since all before it already matches. So the time is bounded by the product of both lengths.
 */
function matchSegments(parts: readonly Part[], segments: readonly string[]): boolean {
  let part = 0;
  let segment = 0;
  let starPart = -1;
  let starSegment = 0;
  while (segment < segments.length) {
    const wanted = parts[part];
    if (wanted === null) {
      if (part === parts.length - 1) return true;
      starPart = part;
      starSegment = segment;
      part += 1;
    } else if (wanted !== undefined && matchText(wanted, segments[segment] ?? '')) {
      part += 1;
      segment += 1;
    } else if (starPart >= 0) {
      starSegment += 1;
      segment = starSegment;
      part = starPart + 1;
    } else return false;
  }
  return part === parts.length;
}

/** The first and last text must be at the ends; those between match as early as possible. */
function matchText(texts: readonly string[], name: string): boolean {
  const [first = '', ...others] = texts;
  const last = others.pop();
  if (last === undefined) return name === first;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const text of others) {
    const found = name.indexOf(text, at);
    if (found === -1 || found + text.length > end) return false;
    at = found + text.length;
  }
  return true;
}
