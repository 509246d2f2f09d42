import { parseRepositoryPattern } from '../../policy/repository-pattern.ts';
import { parseTagGlob, type TagPattern } from '../../policy/tag-pattern.ts';
import { anonymous } from '../../registry/principal.ts';
import { subjectOfTag } from '../scan/mark.ts';
import { describeDuration, describeKeep, type KeepLimits, type RuleText } from './rule-text.ts';

/** A tag, with times in milliseconds since the epoch. */
export type TagFacts = {
  readonly name: string;
  readonly pushedMs: number;
  /** The last pull that is recorded; null: none is. */
  readonly pulledMs: number | null;
};

export type Verdict = {
  readonly keep: boolean;
  /** The rule that decides, counted from 1; null: none does. */
  readonly rule: number | null;
  readonly why: string;
};

export type DecisionTimes = {
  readonly nowMs: number;
  /** Since when no pull is missing in the record; null: there is no record. */
  readonly recordSinceMs: number | null;
};

/** Decides which tags are kept. */
export type Rules = {
  /** Gives the verdicts on all tags of one repository, in their order. */
  decide(repository: string, tags: readonly TagFacts[], times: DecisionTimes): Verdict[];
};

type CompiledRule = {
  readonly number: number;
  readonly keep: RuleText['keep'];
  /** What it says, said once for all tags. */
  readonly whys: Readonly<
    Record<'forever' | 'newest' | 'pushed' | 'pulled' | 'young' | 'unknown' | 'retired', string>
  >;
  matchesRepository(repository: string): boolean;
  matchesTag(tag: string): boolean;
};

const immutableVerdict: Verdict = { keep: true, rule: null, why: 'immutable tag' };
const attachedVerdict: Verdict = { keep: true, rule: null, why: 'goes with its subject' };
const unruledVerdict: Verdict = { keep: true, rule: null, why: 'no rule matches' };

/** Whether no rule decides about a tag, since it goes with its subject. */
export function isOfSubject(verdict: Verdict): boolean {
  return verdict === attachedVerdict;
}

/** Compiles the rules. Immutable tags, and tags that go with a subject, are kept whatever the rules say. */
export function compileRules(texts: readonly RuleText[], immutableTags: readonly TagPattern[]): Rules {
  const rules = texts.map(compileRule);
  return {
    decide: (repository, tags, times) => {
      const own = rules.filter((rule) => rule.matchesRepository(repository));
      const immutable = immutableTags.filter((pattern) => pattern.matchesRepository(repository));
      const decided = tags.map(({ name }): Verdict | CompiledRule => {
        if (immutable.some((pattern) => pattern.matches(repository, name))) return immutableVerdict;
        if (subjectOfTag(name) !== null) return attachedVerdict;
        return own.find((rule) => rule.matchesTag(name)) ?? unruledVerdict;
      });
      const thresholds = new Map(own.map((rule) => [rule, findNewest(rule, tags, decided)]));
      return tags.map((tag, index) => {
        const by = decided[index] ?? unruledVerdict;
        return 'why' in by ? by : judge(by, tag, thresholds.get(by) ?? Infinity, times);
      });
    },
  };
}

/**
 * The push of the last tag that is among the newest of a rule. Tags that were pushed at the very same time are all among
 * them: which is newer is unknown.
 */
function findNewest(
  rule: CompiledRule,
  tags: readonly TagFacts[],
  decided: readonly (Verdict | CompiledRule)[],
): number {
  const newest = rule.keep === 'forever' ? undefined : rule.keep.newest;
  if (newest === undefined) return Infinity;
  const pushes = tags.flatMap(({ pushedMs }, index) => (decided[index] === rule ? [pushedMs] : []));
  return pushes.sort((one, other) => other - one)[newest - 1] ?? -Infinity;
}

function judge(
  { number: rule, keep, whys }: CompiledRule,
  { pushedMs, pulledMs }: TagFacts,
  newestMs: number,
  { nowMs, recordSinceMs }: DecisionTimes,
): Verdict {
  const kept = (why: string): Verdict => ({ keep: true, rule, why });
  if (keep === 'forever') return kept(whys.forever);
  const { pushedWithin, pulledWithin } = keep;
  if (pushedMs >= newestMs) return kept(whys.newest);
  if (pushedWithin !== undefined && nowMs - pushedMs <= pushedWithin) return kept(whys.pushed);
  if (pulledWithin !== undefined) {
    if (pulledMs !== null && nowMs - pulledMs <= pulledWithin) return kept(whys.pulled);
    if (recordSinceMs === null) return kept(whys.unknown);
    // Pulls before the record's beginning are not known.
    if (nowMs - recordSinceMs <= pulledWithin) return kept(whys.young);
  }
  return { keep: false, rule, why: whys.retired };
}

function compileRule({ repositories, tags, keep }: RuleText, index: number): CompiledRule {
  const patterns = repositories.map(parseRepositoryPattern);
  const globs = tags.map(parseTagGlob);
  const number = index + 1;
  const { newest = 0, pushedWithin = 0, pulledWithin = 0 }: KeepLimits = keep === 'forever' ? {} : keep;
  const pulled = describeDuration(pulledWithin);
  const say = (words: string) => `rule ${number}: ${words}`;
  return {
    number,
    keep,
    whys: {
      forever: say('forever'),
      newest: say(`among the newest ${newest}`),
      pushed: say(`pushed within ${describeDuration(pushedWithin)}`),
      pulled: say(`pulled within ${pulled}`),
      young: say(`pulls are recorded for less than ${pulled}`),
      unknown: say('no record of pulls'),
      retired: say(describeKeep(keep)),
    },
    matchesRepository: (repository) => patterns.some((pattern) => pattern.matches(repository, anonymous)),
    matchesTag: (tag) => globs.some((glob) => glob.matches(tag)),
  };
}
