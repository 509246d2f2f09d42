import type { Principal } from '../registry/principal.ts';

/** The principals that a rule matches. */
export type Who = {
  readonly matches: (principal: Principal) => boolean;
  /** Whether it matches clients without credentials. */
  readonly anonymous: boolean;
  /** Whether it matches every verified user; machine tokens and jobs are not users. */
  readonly authenticated: boolean;
  /** Sets of user names; rules share the set of a group. */
  readonly names: readonly ReadonlySet<string>[];
};

/** Compiles the words of a rule's `who`; an unknown word or group matches nobody. */
export function parseWho(words: readonly string[], groups: ReadonlyMap<string, ReadonlySet<string>>): Who {
  const named = (kind: string) =>
    words.filter((word) => word.startsWith(kind)).map((word) => word.slice(kind.length));
  const anonymous = words.includes('anonymous');
  const authenticated = words.includes('authenticated') || words.includes('user:${user}');
  const names = [new Set(named('user:')), ...named('group:').flatMap((name) => groups.get(name) ?? [])];
  return {
    matches: (principal) => {
      switch (principal.kind) {
        case 'anonymous':
          return anonymous;
        case 'user':
          return authenticated || names.some((some) => some.has(principal.name));
        case 'token':
        case 'job':
          return false;
      }
    },
    anonymous,
    authenticated,
    names,
  };
}

/** Converts the groups of the configuration for parseWho. */
export function compileGroups(
  groups: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map(Object.entries(groups).map(([group, names]) => [group, new Set(names)]));
}
