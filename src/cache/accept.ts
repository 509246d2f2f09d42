/** The media types of all Accept fields of a client (RFC 9110 section 12.5.1). */
export type Accept = {
  /** Equal for any order, spacing and case: what upstream's choice depends on. */
  readonly normalized: string;
  /** Whether a type is named exactly. How wildcards match is up to upstream. */
  names(mediaType: string): boolean;
};

/** Reads the values of all Accept fields. Never fails: an odd value is only a set of its own. */
export function parseAccept(values: readonly string[]): Accept {
  const ranges = values
    .flatMap((value) => value.split(','))
    .map((range) => range.replace(/\s+/g, '').toLowerCase())
    .filter((range) => range !== '');
  const named = new Set(
    ranges.filter((range) => !/;q=0(\.0*)?(;|$)/.test(range)).map((range) => range.replace(/;.*/s, '')),
  );
  return {
    normalized: [...new Set(ranges)].sort().join(','),
    names: (mediaType) => named.has(essenceOf(mediaType)),
  };
}

function essenceOf(mediaType: string): string {
  return mediaType.replace(/;.*/s, '').trim().toLowerCase();
}
