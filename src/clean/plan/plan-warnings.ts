import { lintRules, type RuleWarning } from '../rules/rule-lint.ts';
import type { PlanOptions } from './plan-options.ts';
import type { PlanTotals } from './plan.ts';

/** Finds what whoever reads the plan should know. */
export function findPlanWarnings(
  { usage, clean, notes = [], placeOf }: PlanOptions,
  {
    totals: { manifests, tags },
    ofRules,
    keepsData,
  }: {
    readonly totals: PlanTotals;
    readonly ofRules: readonly RuleWarning[];
    readonly keepsData: boolean;
  },
): string[] {
  const warnings = [
    ...notes,
    ...[...lintRules(clean.rules), ...ofRules].map(
      ({ path, sentence }) => `${placeOf(path)}: clean.rules: ${sentence}.`,
    ),
  ];
  const needsRecord = clean.rules.some(({ keep }) => keep !== 'forever' && keep.pulledWithin !== undefined);
  if (usage === null && (needsRecord || (clean.untagged !== null && clean.untagged > 0)))
    warnings.push(
      'Pulls are not recorded (state.usage), so no rule with pulledWithin retires a tag, and manifests without a tag stay.',
    );
  if (clean.untagged === null && tags.goes + manifests.waiting > 0)
    warnings.push('clean.untagged is never: manifests stay when their tags go, and no bytes come free.');
  if (keepsData)
    warnings.push(
      'Folders could not be read that may hold links, so no data goes. See what could not be read.',
    );
  return warnings;
}
