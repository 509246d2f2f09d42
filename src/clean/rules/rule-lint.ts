import { parseTagGlob } from '../../policy/tag-pattern.ts';
import { isPatternWithin, parseRepositoryPattern } from '../../policy/repository-pattern.ts';
import { anonymous } from '../../registry/principal.ts';
import { describeDuration, type RuleText } from './rule-text.ts';

/** A likely mistake in a rule, which does not prevent its use. */
export type RuleWarning = {
  /** Its path below `clean.rules`. */
  readonly path: readonly (string | number)[];
  readonly sentence: string;
};

/** Finds mistakes that the rules alone show: rules that never decide, and rules that one day retire every tag. */
export function lintRules(rules: readonly RuleText[]): RuleWarning[] {
  return rules.flatMap((rule, index) => [
    ...findShadowed(rule, index, rules.slice(0, index)),
    ...findEmptying(rule, index),
  ]);
}

/** Each pattern of repositories with each of tags is one of an earlier rule's. */
function findShadowed(rule: RuleText, index: number, earlier: readonly RuleText[]): RuleWarning[] {
  const takers = new Set<number>();
  for (const repositories of rule.repositories)
    for (const tags of rule.tags) {
      const taker = earlier.findIndex(
        (other) =>
          other.repositories.some((wider) => isPatternWithin(repositories, wider)) &&
          other.tags.some((wider) => isTagGlobWithin(tags, wider)),
      );
      if (taker === -1) return [];
      takers.add(taker + 1);
    }
  const numbers = [...takers].sort((one, other) => one - other);
  const [first, verb] = numbers.length === 1 ? ['rule', 'comes'] : ['rules', 'come'];
  const sentence = `rule ${index + 1} can never decide: ${first} ${numbers.join(', ')} ${verb} first for all that it could match`;
  return [{ path: [index], sentence }];
}

function findEmptying({ repositories, tags, keep }: RuleText, index: number): RuleWarning[] {
  if (keep === 'forever' || keep.newest !== undefined) return [];
  const { pushedWithin, pulledWithin } = keep;
  const rule = `rule ${index + 1}`;
  const path = [index, 'keep'];
  if (pushedWithin === undefined)
    return [
      {
        path,
        sentence: `${rule} retires a new tag that nobody pulls as soon as clean.grace is over: add pushedWithin`,
      },
    ];
  if (pulledWithin !== undefined || !repositories.includes('**') || !tags.includes('*')) return [];
  const sentence = `${rule} retires every tag of every repository to which nobody pushes for ${describeDuration(pushedWithin)}: add newest, or pulledWithin`;
  return [{ path, sentence }];
}

/** Whether the wider pattern certainly matches every tag that the other matches. */
function isTagGlobWithin(pattern: string, wider: string): boolean {
  if (wider === pattern || wider === '*') return true;
  const star = wider.indexOf('*');
  if (star !== -1 && star === wider.length - 1) return pattern.startsWith(wider.slice(0, star));
  return !pattern.includes('*') && parseTagGlob(wider).matches(pattern);
}

/** Counts what each rule decides, to find mistakes that only the tags in the registry show. */
export type RuleCensus = {
  addRepository(name: string): void;
  /** A tag that this rule, counted from 1, decides. */
  addTag(rule: number, isKept: boolean): void;
  warnings(): RuleWarning[];
};

export function createRuleCensus(rules: readonly RuleText[]): RuleCensus {
  const patterns = rules.flatMap(({ repositories }, rule) =>
    repositories.map((text, index) => ({
      rule,
      index,
      text,
      pattern: parseRepositoryPattern(text),
      isKnown: false,
    })),
  );
  const decided = rules.map(() => ({ kept: 0, retired: 0 }));
  let isEmpty = true;
  return {
    addRepository: (name) => {
      isEmpty = false;
      for (const each of patterns) if (!each.isKnown) each.isKnown = each.pattern.matches(name, anonymous);
    },
    addTag: (rule, isKept) => {
      const counts = decided[rule - 1];
      if (counts !== undefined) counts[isKept ? 'kept' : 'retired'] += 1;
    },
    warnings: () => [
      ...patterns.flatMap(({ rule, index, text, isKnown }) => {
        const sentence = `rule ${rule + 1} names ${JSON.stringify(text)}, and no repository has such a name`;
        return isKnown || isEmpty ? [] : [{ path: [rule, 'repositories', index], sentence }];
      }),
      ...decided.flatMap(({ kept, retired }, rule) => {
        if (kept > 0 || retired === 0) return [];
        const all = retired === 1 ? 'the only tag' : `all ${retired} tags`;
        return [{ path: [rule], sentence: `rule ${rule + 1} retires ${all} that it decides` }];
      }),
    ],
  };
}
