/** The name of the registry's command, in distribution 2 and 3. */
const collect = 'garbage-collect';

/** Why these words cannot be `clean.collector`, as the end of a sentence; null: they can. */
export function findCollectorFault(words: readonly string[]): string | null {
  const at = words.indexOf(collect);
  if (at <= 0)
    return `must have ${collect} as a word of its own, such as [docker-registry, ${collect}, FILE]: Tidegate first runs it with --dry-run to see what it would take`;
  const options = words.slice(at + 1);
  if (options.some((word) => /^-[a-z]*m|^--delete-untagged(=(?!false$)|$)/.test(word)))
    return `must not have -m (--delete-untagged): it takes the parts of images for several platforms. Tidegate deletes untagged manifests itself (clean.untagged)`;
  if (options.some((word) => /^-[a-z]*d|^--dry-run(=|$)/.test(word)))
    return 'must not have --dry-run: it would free nothing';
  return null;
}
