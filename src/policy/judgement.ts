import { mayDoAnything, type Policy, type PolicyAction, type TokenBound } from './decision.ts';
import { createPolicy, type RuleText } from './policy.ts';
import { describePrincipal, type PolicyQuery } from './policy-query.ts';
import { parseTagPattern } from './tag-pattern.ts';
import { createOpenPolicy } from './token-grants.ts';

/** The keys of the configuration that say who may do what. */
export type PolicyTexts = {
  /** Null: every verified user may do everything, a machine token what it is granted, and nobody else anything. */
  readonly policy: readonly RuleText[] | null;
  readonly groups: Readonly<Record<string, readonly string[]>>;
  readonly immutableTags: readonly string[];
};

export type Judgement = {
  readonly allowed: boolean;
  /** The rule that decides, counted from 1; null: none. */
  readonly rule: number | null;
  /** The pattern of immutable tags that matches the tag, counted from 1; null: none, or no tag was given. */
  readonly immutableBy: number | null;
  /** Whether it is denied only because the tag is immutable. */
  readonly isTagKept: boolean;
  readonly sentence: string;
  /** What Tidegate answers; null where it is allowed. */
  readonly answer: '401 UNAUTHORIZED' | '403 DENIED' | '404 NAME_UNKNOWN' | null;
};

/** Decides a hypothetical request. */
export type Judge = {
  readonly judge: (query: PolicyQuery) => Judgement;
  /** The policy, for all other decisions. */
  readonly policy: Policy;
  /** Whether there are rules. */
  readonly hasRules: boolean;
};

const plainActions: readonly PolicyAction[] = ['pull', 'push', 'delete'];

/** Why a machine token may not do what its rule allows, as a part of a sentence. */
export function describeBound(bound: TokenBound, action: string): string {
  return bound === 'scopes'
    ? `the token's own scopes do not allow to ${action} there`
    : `the token's owner may not ${action} there`;
}

/** Compiles the configuration's rules. @throws RangeError when a pattern is not valid. */
export function createJudge({ policy: rules, groups, immutableTags }: PolicyTexts): Judge {
  const policy = rules === null ? createOpenPolicy() : createPolicy({ rules, groups });
  const tagPatterns = immutableTags.map(parseTagPattern);
  const hasRules = rules !== null;

  const judge: Judge['judge'] = ({ principal, action, repository, tag }) => {
    const decision = policy.decide(principal, repository);
    const { rule } = decision;
    const index = tag === null ? -1 : tagPatterns.findIndex((pattern) => pattern.matches(repository, tag));
    const immutableBy = index === -1 ? null : index + 1;
    const keepsTag = action === 'delete' && immutableBy !== null && !decision.actions.has('overwrite');
    const has = decision.actions.has(action);
    const who = describePrincipal(principal);
    const bound = decision.withheld?.get(action);
    const by = [
      hasRules ? (rule === null ? 'no rule matches' : `rule ${rule}`) : 'there is no policy',
      ...(bound === undefined ? [] : [describeBound(bound, action)]),
    ].join('; ');
    const known = plainActions.filter((other) => decision.actions.has(other));
    if (has && !keepsTag)
      return {
        allowed: true,
        rule,
        immutableBy,
        isTagKept: false,
        sentence: `${who} may ${action} ${repository} (${by})`,
        answer: null,
      };
    const sentence = has
      ? `${who} may delete in ${repository}, but not the immutable tag ${tag ?? ''}: that needs overwrite (${by})`
      : known.length > 0
        ? `${who} may ${known.join(' and ')} but not ${action} ${repository} (${by})`
        : `${who} may do nothing in ${repository} (${by})`;
    const answer =
      principal.kind === 'anonymous' || (principal.kind === 'job' && !mayDoAnything(policy, principal))
        ? '401 UNAUTHORIZED'
        : known.length === 0
          ? '404 NAME_UNKNOWN'
          : '403 DENIED';
    return { allowed: false, rule, immutableBy, isTagKept: has, sentence, answer };
  };
  return { judge, policy, hasRules };
}
