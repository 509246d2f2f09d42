import type { Policy, PolicyAction } from '../../policy/decision.ts';
import { explainRules } from '../../policy/explanation.ts';
import type { PolicyTexts } from '../../policy/judgement.ts';
import { policyActions } from '../../policy/decision.ts';
import { describeGrant } from '../../policy/policy-query.ts';
import { compileGroups, describeWho, parseWho } from '../../policy/who.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import type { Principal } from '../../registry/principal.ts';

/** What a visitor may do, and by which rules. */
export type Rights =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'rules';
      /** Those that match the visitor; of them the first that matches a repository decides. */
      readonly rules: readonly {
        /** Counted from 1, over the whole policy. */
        readonly rule: number;
        readonly who: string;
        readonly repositories: readonly string[];
        readonly actions: readonly PolicyAction[];
      }[];
      /** Null: no repository was asked about. */
      readonly check: {
        readonly repository: string;
        readonly actions: readonly PolicyAction[];
        readonly rule: number | null;
      } | null;
      /** What bounds a machine token besides. */
      readonly bound: string | null;
    };

/** Says what a visitor may do, and in a repository, as `tidegate policy explain` does. @param repository empty: none is asked about */
export function explainRights(
  { policy: rules, groups }: Pick<PolicyTexts, 'policy' | 'groups'>,
  policy: Policy,
  principal: Principal,
  repository: string,
): Rights {
  if (rules === null && principal.kind === 'user') return { kind: 'all' };
  const bound = principal.kind === 'token' ? describeGrant(principal.grant) : null;
  const asked = askedAs(principal);
  const compiled = compileGroups(groups);
  const matching = (rules ?? []).flatMap(({ who, repositories, actions }, index) => {
    const item = who.find((one) => parseWho([one], compiled).matches(asked));
    return item === undefined ? [] : [{ rule: index + 1, who: describeWho(item), repositories, actions }];
  });
  return { kind: 'rules', rules: matching, check: check(), bound };

  function check() {
    if (!isRepositoryName(repository)) return null;
    const { actions } = policy.decide(principal, repository);
    const deciding = explainRules(rules ?? [], groups, asked, repository).at(-1);
    const decides = deciding?.word != null && deciding.pattern !== null;
    return {
      repository,
      actions: policyActions.filter((action) => actions.has(action)),
      rule: decides ? deciding.rule : null,
    };
  }
}

/** Whom the rules are asked about: a token that its owner made has the owner's rights. */
function askedAs(principal: Principal): Principal {
  if (principal.kind !== 'token') return principal;
  const { isPersonal, owner } = principal.grant;
  return isPersonal === true && owner !== null ? { kind: 'user', name: owner } : principal;
}

/** Whether a visitor may see and delete every image: only then the clean-up is shown, which names them. */
export function mayCleanUp(policy: Pick<Policy, 'decideForAll'>, principal: Principal): boolean {
  if (principal.kind !== 'user') return false;
  const { actions } = policy.decideForAll(principal);
  return actions.has('pull') && actions.has('delete');
}
