import { parseNetwork, type Network } from '../http/network.ts';
import { principalText, type Principal } from '../registry/principal.ts';
import { parseJobPattern, type JobPattern, type JobText } from './job-pattern.ts';

/** An item of a rule's `who`: a word, or jobs. */
export type WhoText = string | JobText;

/** The principals that a rule matches. */
export type Who = {
  readonly matches: (principal: Principal) => boolean;
  /** Whether it matches clients without credentials. */
  readonly anonymous: boolean;
  /** Where else it matches clients without credentials. */
  readonly networks: readonly Network[];
  /** Whether it matches every verified user; machine tokens and jobs are not users. */
  readonly authenticated: boolean;
  /** Sets of user names and `token:NAME`; rules share the set of a group. */
  readonly names: readonly ReadonlySet<string>[];
  /** The only way to match a job. */
  readonly jobs: readonly JobPattern[];
};

/** Compiles a rule's `who`; an unknown word or group matches nobody. @throws RangeError when a network or a claim's pattern is invalid */
export function parseWho(who: readonly WhoText[], groups: ReadonlyMap<string, ReadonlySet<string>>): Who {
  const words = who.filter((item) => typeof item === 'string');
  const jobs = who.filter((item) => typeof item !== 'string').map(parseJobPattern);
  const named = (kind: string) =>
    words.filter((word) => word.startsWith(kind)).map((word) => word.slice(kind.length));
  const anonymous = words.includes('anonymous');
  const networks = named('network:').map(parseNetwork);
  const authenticated = words.includes('authenticated') || words.includes('user:${user}');
  const tokens = words.filter((word) => word.startsWith('token:'));
  const own = new Set([...named('user:'), ...tokens]);
  const names = [own, ...named('group:').flatMap((name) => groups.get(name) ?? [])];
  return {
    matches: (principal) => {
      switch (principal.kind) {
        case 'anonymous':
          return anonymous || networks.some(({ text }) => principal.networks.includes(text));
        case 'user':
          return authenticated || names.some((some) => some.has(principal.name));
        case 'token':
          return names.some((some) => some.has(principalText(principal)));
        case 'job':
          return jobs.some((pattern) => pattern.matches(principal));
      }
    },
    anonymous,
    networks,
    authenticated,
    names,
    jobs,
  };
}

/** Describes an item of a rule's `who` in one line. */
export function describeWho(item: WhoText): string {
  if (typeof item === 'string') return item;
  const claims = Object.entries(item.claims).map(([name, pattern]) => `${name}=${pattern}`);
  return `oidc:${item.oidc} with ${claims.join(', ')}`;
}

/** Converts the groups of the configuration for parseWho. */
export function compileGroups(
  groups: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map(Object.entries(groups).map(([group, names]) => [group, new Set(names)]));
}
