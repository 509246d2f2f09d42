/** A case for rules in whole days, counted back from now. */
export type ModelCase = {
  readonly rules: readonly {
    readonly repositories: readonly string[];
    readonly tags: readonly string[];
    readonly keep: 'forever' | { newest?: number; pushedWithin?: number; pulledWithin?: number };
  }[];
  readonly immutable: readonly string[];
  readonly repository: string;
  readonly tags: readonly {
    readonly name: string;
    readonly pushed: number;
    readonly pulled: number | null;
  }[];
  readonly recordSince: number | null;
};

/**
 * The tags that rules keep, as slowly and literally as the documentation says it: goes through the rules and not through
 * the tags, takes out of the list what each rule decides, and counts the tags that are newer.
 */
export function keptTags({ rules, immutable, repository, tags, recordSince }: ModelCase): string[] {
  const gone = new Set<string>();
  let undecided = tags.filter(({ name }) => !/^sha(256|512)-[0-9a-f]{64}/.test(name));
  undecided = undecided.filter(
    ({ name }) =>
      !immutable.some((text) => covers(text.split(':')[0], repository) && covers(text.split(':')[1], name)),
  );
  for (const { repositories, tags: patterns, keep } of rules) {
    if (!repositories.some((text) => covers(text, repository))) continue;
    const own = undecided.filter(({ name }) => patterns.some((text) => covers(text, name)));
    undecided = undecided.filter((tag) => !own.includes(tag));
    if (keep === 'forever') continue;
    for (const tag of own) {
      const newer = own.filter((other) => other.pushed < tag.pushed).length;
      if (keep.newest !== undefined && newer < keep.newest) continue;
      if (keep.pushedWithin !== undefined && tag.pushed <= keep.pushedWithin) continue;
      if (keep.pulledWithin !== undefined) {
        // Without a record it could have been pulled today; with one, on its first day.
        const pulls = [recordSince ?? 0, ...(tag.pulled === null ? [] : [tag.pulled])];
        if (Math.min(...pulls) <= keep.pulledWithin) continue;
      }
      gone.add(tag.name);
    }
  }
  return tags.map(({ name }) => name).filter((name) => !gone.has(name));
}

/** A pattern as a regular expression: segments of the pattern become segments of the expression. */
function covers(pattern = '', name: string): boolean {
  const source = pattern
    .split('/')
    .map((part) =>
      part === '**' ? '(?:[^/]+/)*' : `${part.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}/`,
    )
    .join('');
  // A "**" at the end stands for at least one segment.
  const whole = pattern.endsWith('**') ? source.replace(/\*$/, '+') : source;
  return new RegExp(`^${whole}$`).test(`${name}/`);
}
