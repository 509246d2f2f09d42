import type { Asker } from './policy.ts';

/** Whom a rule is for. */
export type Who = {
  matches(asker: Asker): boolean;
  /** Whether it is for clients without credentials. */
  readonly anonymous: boolean;
  /** Whether it is for every verified user. */
  readonly authenticated: boolean;
  /** Users by their names, those of its groups among them. */
  readonly names: ReadonlySet<string>;
};

/** Compiles the words of a rule's `who`; what is none of them, and a group that there is not, means nobody. */
export function parseWho(words: readonly string[], groups: ReadonlyMap<string, readonly string[]>): Who {
  const named = words.flatMap((word) => {
    const [, kind, name = ''] = /^(user|group):(.*)$/s.exec(word) ?? [];
    return kind === 'group' ? (groups.get(name) ?? []) : kind === 'user' ? [name] : [];
  });
  const anonymous = words.includes('anonymous');
  const authenticated = words.includes('authenticated') || words.includes('user:${user}');
  const names = new Set(named);
  return {
    matches: (asker) => (asker === null ? anonymous : authenticated || names.has(asker)),
    anonymous,
    authenticated,
    names,
  };
}
