/** The same command, made to say what it would take. `garbage-collect` is one of its words. */
export function asTrial(words: readonly string[]): readonly string[] {
  const at = words.indexOf('garbage-collect');
  return [...words.slice(0, at + 1), '--dry-run', ...words.slice(at + 1)];
}
