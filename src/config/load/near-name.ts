/** Finds the name that differs from `typed` by the fewest letters, ignoring case; undefined when none is near. */
export function findNearName(typed: string, names: Iterable<string>): string | undefined {
  if (typed.length > 64) return undefined;
  let nearest: string | undefined;
  // Up to a third of the letters may be wrong, but never all of a short name.
  let bound = Math.max(1, Math.floor(typed.length / 3)) + 1;
  for (const name of names) {
    const distance = countEdits(typed.toLowerCase(), name.toLowerCase());
    if (distance < bound) {
      bound = distance;
      nearest = name;
    }
  }
  return nearest;
}

/** Levenshtein distance, one row at a time. */
function countEdits(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let index = 0; index < from.length; index += 1) {
    const next = [index + 1];
    for (let column = 0; column < to.length; column += 1) {
      const replaced = (row[column] ?? 0) + (from[index] === to[column] ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
