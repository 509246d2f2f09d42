import { LRUCache } from 'lru-cache';
import { createNetworkIndex } from '../http/network.ts';
import { createRuleIndex, firstMatch, type Candidates } from './rule-index.ts';
import { anonymous, principalText, type Anonymous, type Principal } from '../registry/principal.ts';
import { parseRepositoryPattern, type RepositoryPattern } from './repository-pattern.ts';
import { policyActions, type Decision, type Policy, type PolicyAction } from './decision.ts';
import { boundTokens } from './token-grants.ts';
import { compileGroups, parseWho, type Who, type WhoText } from './who.ts';

/** A rule as written in the configuration. */
export type RuleText = {
  /** `anonymous`, `network:CIDR` (anonymous too), `authenticated`, `user:NAME`, `user:${user}` (any user), `group:NAME`, `token:NAME`, or jobs by their claims. */
  readonly who: readonly WhoText[];
  /** Patterns of repositories; `${user}` stands for the user's name. */
  readonly repositories: readonly string[];
  readonly actions: readonly PolicyAction[];
};

type Rule = {
  readonly order: number;
  readonly decision: Decision;
  readonly who: Who;
  readonly patterns: readonly RepositoryPattern[];
};

const nothing: Decision = { rule: null, actions: new Set() };

/** A larger group is searched at each decision and not indexed by its names, so the index stays small. */
const maxFiledNames = 1000;

/** How many decisions are remembered: enough for a busy hour's users and repositories, at about 200 bytes each. */
const maxRemembered = 10_000;

/**
 * Compiles rules. The first that matches decides; a request that none matches is denied. Machine tokens are also bounded
 * by their grants.
 *
 * @param options groups: the names of the users and machine tokens in each
 * @throws RangeError when a pattern is not valid
 */
export function createPolicy(options: {
  readonly rules: readonly RuleText[];
  readonly groups: Readonly<Record<string, readonly string[]>>;
}): Policy {
  const groups = compileGroups(options.groups);
  const rules = options.rules.map((rule, index) => compileRule(rule, index + 1, groups));
  const remembered = new LRUCache<string, Decision>({ max: maxRemembered });

  const isForAnonymous = ({ who }: Rule) => who.anonymous || who.networks.length > 0;
  const anonymousRules = rules.filter(isForAnonymous);
  const networks = rules.flatMap(({ who }) => who.networks);
  const findNetworks = createNetworkIndex(networks);
  const forJobs = rules.filter(({ who }) => who.jobs.length > 0);
  const byName = createRuleIndex(rules, ({ who: { authenticated, names } }) =>
    authenticated || names.some(({ size }) => size > maxFiledNames)
      ? null
      : names.flatMap((filed) => [...filed]),
  );
  const byFirstPart = createRuleIndex(rules, ({ patterns }) => onlyTexts(patterns.map(({ first }) => first)));
  const byLastPart = createRuleIndex(rules, ({ patterns }) => onlyTexts(patterns.map(({ last }) => last)));

  const rulesFor = (principal: Principal): Candidates<Rule> => {
    switch (principal.kind) {
      case 'anonymous':
        return [[], anonymousRules];
      case 'user':
      case 'token':
        return byName.find(principalText(principal));
      case 'job':
        return [[], forJobs];
    }
  };

  /** Searches the shortest list that must contain the rule. */
  const find = (principal: Principal, repository: string): Decision => {
    const candidates: Candidates<Rule>[] = [
      rulesFor(principal),
      byFirstPart.find(repository.slice(0, `${repository}/`.indexOf('/'))),
      byLastPart.find(repository.slice(repository.lastIndexOf('/') + 1)),
    ];
    const shortest = candidates.reduce((best, next) => (count(next) < count(best) ? next : best));
    const matches = (rule: Rule) =>
      rule.who.matches(principal) && rule.patterns.some((pattern) => pattern.matches(repository, principal));
    return firstMatch(shortest, matches)?.decision ?? nothing;
  };

  return boundTokens({
    decide: (principal, repository) => {
      // A job's rights depend on its claims, which its text omits.
      if (principal.kind === 'job') return find(principal, repository);
      const text = principal.kind === 'anonymous' ? textOfNetworks(principal) : principalText(principal);
      // A repository's name has no line feed.
      const key = text === null ? repository : `${text}\n${repository}`;
      const known = remembered.get(key);
      if (known !== undefined) return known;
      const decision = find(principal, repository);
      remembered.set(key, decision);
      return decision;
    },
    decideForAll: (principal) => {
      let actions = new Set<PolicyAction>(policyActions);
      for (const rule of rules) {
        if (!rule.who.matches(principal) || !rule.patterns.some((pattern) => pattern.canMatch(principal)))
          continue;
        actions = new Set([...actions].filter((action) => rule.decision.actions.has(action)));
        if (actions.size === 0 || rule.patterns.some((pattern) => pattern.matchesAll))
          return { rule: rule.decision.rule, actions };
      }
      return nothing;
    },
    mayAnywhere: (principal, action) =>
      rules.some(
        ({ decision, who, patterns }) =>
          decision.actions.has(action) &&
          who.matches(principal) &&
          patterns.some((pattern) => pattern.canMatch(principal)),
      ),
    anonymousAt: (address) =>
      networks.length === 0 ? anonymous : { kind: 'anonymous', networks: findNetworks(address) },
    hasAnonymous: rules.some((rule) => isForAnonymous(rule) && rule.decision.actions.size > 0),
  });
}

/** A text that no other principal has, since no user's name has a colon; null: no network. */
function textOfNetworks({ networks }: Anonymous): string | null {
  return networks.length === 0 ? null : `network:${networks.join()}`;
}

function count([some, others]: Candidates<Rule>): number {
  return some.length + others.length;
}

/** Null when one of them is null. */
function onlyTexts(texts: readonly (string | null)[]): string[] | null {
  const known = texts.filter((text) => text !== null);
  return known.length === texts.length ? known : null;
}

function compileRule(
  { who, repositories, actions }: RuleText,
  number: number,
  groups: ReadonlyMap<string, ReadonlySet<string>>,
): Rule {
  return {
    order: number,
    decision: { rule: number, actions: new Set(actions) },
    who: parseWho(who, groups),
    patterns: repositories.map(parseRepositoryPattern),
  };
}
