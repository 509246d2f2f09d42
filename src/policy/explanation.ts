import type { Principal } from '../registry/principal.ts';
import type { RuleText } from './policy.ts';
import { parseRepositoryPattern } from './repository-pattern.ts';
import { compileGroups, describeWho, parseWho } from './who.ts';

/** How a rule matches principal and repository; it decides if neither is null. */
export type RuleStep = {
  /** Counted from 1. */
  readonly rule: number;
  /** The first word of `who` that matches the principal; null: none. */
  readonly word: string | null;
  /** The first of `repositories` that matches; null: none. */
  readonly pattern: string | null;
};

/** Explains the rules in order, up to the one that decides; all if none does. */
export function explainRules(
  rules: readonly RuleText[],
  groupTexts: Readonly<Record<string, readonly string[]>>,
  principal: Principal,
  repository: string,
): RuleStep[] {
  const groups = compileGroups(groupTexts);
  const steps: RuleStep[] = [];
  for (const [index, { who, repositories }] of rules.entries()) {
    const item = who.find((one) => parseWho([one], groups).matches(principal));
    const word = item === undefined ? null : describeWho(item);
    const pattern =
      repositories.find((one) => parseRepositoryPattern(one).matches(repository, principal)) ?? null;
    steps.push({ rule: index + 1, word, pattern });
    if (word !== null && pattern !== null) break;
  }
  return steps;
}
