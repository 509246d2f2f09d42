import type { Anonymous, Principal } from '../registry/principal.ts';

/** What a rule can allow; `overwrite`: to move or delete a tag that is immutable to others. */
export const policyActions = ['pull', 'push', 'delete', 'overwrite'] as const;
export type PolicyAction = (typeof policyActions)[number];

/** What someone may do in a repository, and by which rule. */
export type Decision = {
  /** The first rule whose `who` and `repositories` match, counted from 1; null: none, and what none matches is denied. */
  readonly rule: number | null;
  readonly actions: ReadonlySet<PolicyAction>;
  /** What the rule would allow to a machine token, and what keeps it from that. */
  readonly withheld?: ReadonlyMap<PolicyAction, TokenBound>;
};

/** What keeps a machine token from what its rule allows: its own grant, or what its owner may. */
export type TokenBound = 'scopes' | 'owner';

/** The principal of a request without credentials from this address. */
export type AnonymousAt = (address: string) => Anonymous;

export type Policy = {
  decide(principal: Principal, repository: string): Decision;
  /** What may be done in every repository, whatever its name: for what names none (`/v1/images/…`). */
  decideForAll(principal: Principal): Decision;
  /** Whether there is any repository where this may be done; true where only the names decide. */
  mayAnywhere(principal: Principal, action: PolicyAction): boolean;
  readonly anonymousAt: AnonymousAt;
  /** Whether those who do not say who they are may do anything at all, at some address. */
  readonly hasAnonymous: boolean;
};

/** Whether there is any repository where the principal may do anything. */
export function mayDoAnything(policy: Pick<Policy, 'mayAnywhere'>, principal: Principal): boolean {
  return policyActions.some((action) => policy.mayAnywhere(principal, action));
}
