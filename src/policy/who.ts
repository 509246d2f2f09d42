import type { Principal } from '../registry/principal.ts';

/** Whom a rule is for. */
export type Who = {
  readonly matches: (principal: Principal) => boolean;
  /** Whether it is for clients without credentials. */
  readonly anonymous: boolean;
  /** Whether it is for every verified user; no machine token and no job is one. */
  readonly authenticated: boolean;
  /** Sets of users' names; a group's is shared by all rules that name it. */
  readonly names: readonly ReadonlySet<string>[];
};

/** Compiles the words of a rule's `who`; what is none of them, and a group that there is not, means nobody. */
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

/** The groups of the configuration as parseWho wants them. */
export function compileGroups(
  groups: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map(Object.entries(groups).map(([group, names]) => [group, new Set(names)]));
}
