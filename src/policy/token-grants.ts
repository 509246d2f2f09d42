import { anonymous, type MachineToken, type Principal, type TokenGrant } from '../registry/principal.ts';
import type { Decision, Policy, PolicyAction, TokenBound } from './decision.ts';
import { parseRepositoryPattern, type RepositoryPattern } from './repository-pattern.ts';

/**
 * Bounds machine tokens, whom rules name, by their grants: a token may do what the policy allows to its name, its grant covers, and, with
 * an owner, the policy allows to the owner. A personal one may do what its grant covers of what the policy allows to its owner. Everyone
 * else gets the policy's own answers.
 */
export function boundTokens(policy: Policy): Policy {
  const compiled = new WeakMap<TokenGrant, readonly RepositoryPattern[]>();
  const patternsOf = (grant: TokenGrant): readonly RepositoryPattern[] => {
    const known = compiled.get(grant) ?? grant.repositories.map(parseRepositoryPattern);
    compiled.set(grant, known);
    return known;
  };

  const bound = (
    token: MachineToken,
    isCovered: (pattern: RepositoryPattern) => boolean,
    decideFor: (principal: Principal) => Decision,
  ): Decision => {
    const { grant } = token;
    const decision = decideFor(namedByRules(token));
    if (decision.actions.size === 0) return decision;
    const granted = patternsOf(grant).some(isCovered) ? grant.actions : [];
    const ofOwner = grant.owner === null ? null : decideFor({ kind: 'user', name: grant.owner }).actions;
    const actions = new Set<PolicyAction>();
    const withheld = new Map<PolicyAction, TokenBound>();
    for (const action of decision.actions) {
      if (!covers(granted, action)) withheld.set(action, 'scopes');
      else if (ofOwner?.has(action) === false) withheld.set(action, 'owner');
      else actions.add(action);
    }
    return { rule: decision.rule, actions, withheld };
  };

  return {
    decide: (principal, repository) => {
      if (principal.kind !== 'token') return policy.decide(principal, repository);
      const isCovered = (pattern: RepositoryPattern) => pattern.matches(repository, principal);
      return bound(principal, isCovered, (each) => policy.decide(each, repository));
    },
    decideForAll: (principal) => {
      if (principal.kind !== 'token') return policy.decideForAll(principal);
      const isCovered = ({ matchesAll }: RepositoryPattern) => matchesAll;
      return bound(principal, isCovered, (each) => policy.decideForAll(each));
    },
    mayAnywhere: (principal, action) => {
      const named = principal.kind === 'token' ? namedByRules(principal) : principal;
      if (!policy.mayAnywhere(named, action)) return false;
      if (principal.kind !== 'token') return true;
      const { actions, owner } = principal.grant;
      if (!covers(actions, action)) return false;
      return owner === null || policy.mayAnywhere({ kind: 'user', name: owner }, action);
    },
    anonymousAt: policy.anonymousAt,
    hasAnonymous: policy.hasAnonymous,
  };
}

/** Whom the rules are asked about. */
function namedByRules(token: MachineToken): Principal {
  const { isPersonal, owner } = token.grant;
  return isPersonal === true && owner !== null ? { kind: 'user', name: owner } : token;
}

/** To overwrite is no action of its own in a grant: it adds to a push or a delete, each of which has to be granted. */
function covers(granted: readonly PolicyAction[], action: PolicyAction): boolean {
  return action === 'overwrite'
    ? granted.includes('push') || granted.includes('delete')
    : granted.includes(action);
}

const everything: Decision = { rule: null, actions: new Set<PolicyAction>(['pull', 'push', 'delete']) };
const nothing: Decision = { rule: null, actions: new Set() };

/** What holds where the configuration has no policy: users may do everything, machine tokens what their grants cover, and nobody else anything. */
export function createOpenPolicy(): Policy {
  const decide = ({ kind }: Principal) => (kind === 'user' || kind === 'token' ? everything : nothing);
  return boundTokens({
    decide,
    decideForAll: decide,
    mayAnywhere: (principal, action) => decide(principal).actions.has(action),
    anonymousAt: () => anonymous,
    hasAnonymous: false,
  });
}

/** Checks a pattern of a grant. @throws RangeError with what is wrong with it, to be put behind it */
export function checkGrantPattern(pattern: string): void {
  if (pattern.includes('$')) throw new RangeError('cannot have "${user}": a machine token is no user');
  parseRepositoryPattern(pattern);
}
