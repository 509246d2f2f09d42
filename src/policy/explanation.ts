import type { Principal } from '../registry/principal.ts';
import type { RuleText } from './policy.ts';
import { parseRepositoryPattern } from './repository-pattern.ts';
import { compileGroups, parseWho } from './who.ts';

/** What a rule says of who asks and of a repository; it decides where neither is null. */
export type RuleStep = {
  /** Counted from 1. */
  readonly rule: number;
  /** The first word of its `who` that means who asks; null: none does. */
  readonly word: string | null;
  /** The first of its `repositories` that matches; null: none does. */
  readonly pattern: string | null;
};

/** Goes through the rules in their order, to the one that decides; to the last where none does. */
export function explainRules(
  rules: readonly RuleText[],
  groupTexts: Readonly<Record<string, readonly string[]>>,
  principal: Principal,
  repository: string,
): RuleStep[] {
  const groups = compileGroups(groupTexts);
  const steps: RuleStep[] = [];
  for (const [index, { who, repositories }] of rules.entries()) {
    const word = who.find((one) => parseWho([one], groups).matches(principal)) ?? null;
    const pattern =
      repositories.find((one) => parseRepositoryPattern(one).matches(repository, principal)) ?? null;
    steps.push({ rule: index + 1, word, pattern });
    if (word !== null && pattern !== null) break;
  }
  return steps;
}
