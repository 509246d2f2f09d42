import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { compileRules, type TagFacts } from '../../../src/clean/rules/decide.ts';
import type { KeepLimits, RuleText } from '../../../src/clean/rules/rule-text.ts';
import { parseTagPattern } from '../../../src/policy/tag-pattern.ts';
import { keptTags, type ModelCase } from '../../support/rules-model.ts';

const day = 86_400_000;
const nowMs = Date.UTC(2026, 10, 29);
const daysAgo = (days: number) => nowMs - days * day;
const ofAll = (keep: RuleText['keep']): RuleText => ({ repositories: ['**'], tags: ['*'], keep });
const tag = (name: string, pushed: number, pulled: number | null = null): TagFacts => ({
  name,
  pushedMs: daysAgo(pushed),
  pulledMs: pulled === null ? null : daysAgo(pulled),
});

type Case = {
  readonly rules: readonly RuleText[];
  readonly tags: readonly TagFacts[];
  readonly recordDays?: number | null;
  readonly immutable?: readonly string[];
  readonly repository?: string;
};

function decide({ rules, tags, recordDays = 1000, immutable = [], repository = 'ci/app' }: Case) {
  const recordSinceMs = recordDays === null ? null : daysAgo(recordDays);
  const compiled = compileRules(rules, immutable.map(parseTagPattern));
  return compiled.decide(repository, tags, { nowMs, recordSinceMs });
}

/** One tag that the rule decides, and another that is newer. */
function decideOld(keep: KeepLimits, old: TagFacts, recordDays?: number | null) {
  const rules = [ofAll(keep)];
  return decide({
    rules,
    tags: [old, tag('new', 0)],
    ...(recordDays === undefined ? {} : { recordDays }),
  })[0];
}

describe('which tags are kept', () => {
  // All combinations of the three limits, each of which holds, or does not, or is not set.
  const states = ['unset', 'holds', 'fails'] as const;
  for (const newest of states)
    for (const pushed of states)
      for (const pulled of states) {
        if (newest === 'unset' && pushed === 'unset' && pulled === 'unset') continue;
        const keep: KeepLimits = {
          ...(newest === 'unset' ? {} : { newest: newest === 'holds' ? 2 : 1 }),
          ...(pushed === 'unset' ? {} : { pushedWithin: (pushed === 'holds' ? 60 : 30) * day }),
          ...(pulled === 'unset' ? {} : { pulledWithin: (pulled === 'holds' ? 60 : 30) * day }),
        };
        const isKept = [newest, pushed, pulled].includes('holds');
        it(`newest ${newest}, pushedWithin ${pushed}, pulledWithin ${pulled}: ${isKept ? 'kept' : 'retired'}`, () => {
          const verdict = decideOld(keep, tag('old', 45, 45));
          assert.equal(verdict?.keep, isKept);
          assert.equal(verdict.rule, 1);
          assert.match(verdict.why, /^rule 1: /);
        });
      }

  const pulledWithin = 90 * day;
  for (const [name, facts, recordDays, isKept, why] of [
    ['no pull recorded, an old record', tag('old', 500), 91, false, 'pulledWithin 90d'],
    [
      'no pull recorded, a record as old as the rule',
      tag('old', 500),
      90,
      true,
      'pulls are recorded for less than 90d',
    ],
    [
      'no pull recorded, a record that begins now',
      tag('old', 500),
      0,
      true,
      'pulls are recorded for less than 90d',
    ],
    [
      'no pull recorded, a record from the future',
      tag('old', 500),
      -1,
      true,
      'pulls are recorded for less than 90d',
    ],
    ['no pull recorded, no record', tag('old', 500), null, true, 'no record of pulls'],
    [
      'an old pull, a record that has a gap since',
      tag('old', 500, 400),
      10,
      true,
      'pulls are recorded for less than 90d',
    ],
    ['an old pull, an old record', tag('old', 500, 400), 410, false, 'pulledWithin 90d'],
    ['a pull at the very limit', tag('old', 500, 90), 410, true, 'pulled within 90d'],
    [
      'a pull that is recorded though there is no record',
      tag('old', 500, 1),
      null,
      true,
      'pulled within 90d',
    ],
  ] as const)
    it(`pulledWithin, ${name}: ${isKept ? 'kept' : 'retired'}`, () => {
      assert.deepEqual(decideOld({ pulledWithin }, facts, recordDays), {
        keep: isKept,
        rule: 1,
        why: `rule 1: ${why}`,
      });
    });

  it('keeps a tag to the end of pushedWithin, and one from the future', () => {
    const rules = [ofAll({ pushedWithin: 30 * day })];
    const tags = [tag('at', 30), tag('after', 30.001), tag('future', -5)];
    assert.deepEqual(
      decide({ rules, tags }).map(({ keep }) => keep),
      [true, false, true],
    );
  });

  it('keeps what no rule matches, and says so', () => {
    const rules: RuleText[] = [{ repositories: ['ci/**'], tags: ['pr-*'], keep: { newest: 1 } }];
    const tags = [tag('pr-1', 9), tag('pr-2', 8), tag('main', 900)];
    assert.deepEqual(decide({ rules, tags }), [
      { keep: false, rule: 1, why: 'rule 1: newest 1' },
      { keep: true, rule: 1, why: 'rule 1: among the newest 1' },
      { keep: true, rule: null, why: 'no rule matches' },
    ]);
    const others = decide({ rules, tags, repository: 'team/app' });
    assert.deepEqual(new Set(others.map(({ why }) => why)), new Set(['no rule matches']));
    assert.deepEqual(new Set(decide({ rules: [], tags }).map(({ keep }) => keep)), new Set([true]));
  });

  it('lets the first rule that matches decide', () => {
    const rules: RuleText[] = [
      { repositories: ['**'], tags: ['v*', 'latest'], keep: 'forever' },
      ofAll({ newest: 1 }),
      ofAll('forever'),
    ];
    const verdicts = decide({ rules, tags: [tag('v1', 99), tag('latest', 98), tag('a', 97), tag('b', 96)] });
    assert.deepEqual(
      verdicts.map(({ keep, rule }) => `${rule} ${keep}`),
      ['1 true', '1 true', '2 false', '2 true'],
    );
    assert.equal(verdicts[0]?.why, 'rule 1: forever');
  });

  it('counts the newest among the tags that the rule decides', () => {
    const rules: RuleText[] = [{ repositories: ['**'], tags: ['v*'], keep: 'forever' }, ofAll({ newest: 2 })];
    const tags = [
      tag('v1', 1),
      tag('a', 5),
      tag('locked', 0),
      tag('b', 4),
      tag('c', 3),
      tag(`sha256-${'0'.repeat(64)}`, 0),
    ];
    const verdicts = decide({ rules, tags, immutable: ['**:locked'] });
    assert.deepEqual(
      verdicts.map(({ keep }) => keep),
      [true, false, true, true, true, true],
    );
  });

  it('takes all tags that were pushed at the same time as the last of the newest', () => {
    const tags = ['a', 'b', 'c', 'd'].map((name, index) => tag(name, [3, 2, 2, 2][index] ?? 0));
    const kept = (newest: number) => decide({ rules: [ofAll({ newest })], tags }).map(({ keep }) => keep);
    assert.deepEqual(kept(1), [false, true, true, true]);
    assert.deepEqual(kept(3), [false, true, true, true]);
    assert.deepEqual(kept(4), [true, true, true, true]);
  });

  it('keeps immutable tags whatever the rules say', () => {
    const immutable = ['ci/**:v*', 'other/**:*'];
    const tags = [tag('v1', 99), tag('w1', 99), tag('new', 0)];
    assert.deepEqual(decide({ rules: [ofAll({ newest: 1 })], tags, immutable }).slice(0, 2), [
      { keep: true, rule: null, why: 'immutable tag' },
      { keep: false, rule: 1, why: 'rule 1: newest 1' },
    ]);
  });

  it('leaves tags of a subject out of all rules', () => {
    const hex = 'ab'.repeat(32);
    const names = [
      `sha256-${hex}`,
      `sha256-${hex}.sig`,
      `sha512-${hex}`,
      `sha256-${hex.slice(2)}`,
      'sha256-x',
      `Sha256-${hex}`,
    ];
    const verdicts = decide({
      rules: [ofAll({ pushedWithin: day })],
      tags: names.map((name) => tag(name, 9)),
    });
    assert.deepEqual(
      verdicts.map(({ rule }) => rule),
      [null, null, null, 1, 1, 1],
    );
    assert.deepEqual(verdicts[0], { keep: true, rule: null, why: 'goes with its subject' });
  });

  it('says all that a rule asks for when it retires a tag', () => {
    const keep = { newest: 10, pushedWithin: 36 * 3_600_000, pulledWithin: 90 * day };
    const tags = Array.from({ length: 11 }, (_, index) => tag(`t${index}`, 100 + index));
    assert.deepEqual(decide({ rules: [ofAll(keep)], tags }).at(-1), {
      keep: false,
      rule: 1,
      why: 'rule 1: newest 10, pushedWithin 36h, pulledWithin 90d',
    });
  });

  it('keeps what a model keeps that was written apart', () => {
    const age = fc.integer({ min: -2, max: 12 });
    const keep = fc.oneof(
      fc.constant('forever' as const),
      fc
        .record(
          {
            newest: fc.integer({ min: 1, max: 4 }),
            pushedWithin: fc.integer({ min: 1, max: 8 }),
            pulledWithin: fc.integer({ min: 1, max: 8 }),
          },
          { requiredKeys: [] },
        )
        .filter((limits) => Object.keys(limits).length > 0),
    );
    const rule = fc.record({
      repositories: fc.subarray(['**', 'a/**', 'a/*', 'b', '**/c'], { minLength: 1 }),
      tags: fc.subarray(['*', 'v*', 'latest', '*-rc', 'v1'], { minLength: 1 }),
      keep,
    });
    const facts = fc.record({ pushed: age, pulled: fc.option(age) });
    const names = ['v1', 'v1-rc', 'v2', 'latest', 'main', 'x-rc', `sha256-${'0'.repeat(64)}.sig`];
    const anyCase: fc.Arbitrary<ModelCase> = fc.record({
      rules: fc.array(rule, { maxLength: 4 }),
      immutable: fc.subarray(['**:v1', 'a/**:*-rc', 'b:*']),
      repository: fc.constantFrom('a', 'a/c', 'a/b/c', 'b', 'c'),
      tags: fc
        .tuple(...names.map(() => fc.option(facts)))
        .map((all) =>
          all.flatMap((each, index) => (each === null ? [] : [{ name: names[index] ?? '', ...each }])),
        ),
      recordSince: fc.option(age),
    });
    fc.assert(
      fc.property(anyCase, (given) => {
        const rules = given.rules.map(({ keep, ...rest }): RuleText => ({
          ...rest,
          keep: keep === 'forever' ? keep : inDays(keep),
        }));
        const tags = given.tags.map(({ name, pushed, pulled }) => tag(name, pushed, pulled));
        const { immutable, repository, recordSince: recordDays } = given;
        const verdicts = decide({ rules, tags, immutable, repository, recordDays });
        const kept = tags.flatMap(({ name }, index) => (verdicts[index]?.keep === true ? [name] : []));
        assert.deepEqual(kept, keptTags(given));
      }),
      { numRuns: 3000 },
    );
  });
});

const inDays = ({ newest, pushedWithin, pulledWithin }: KeepLimits): KeepLimits => ({
  newest,
  pushedWithin: pushedWithin && pushedWithin * day,
  pulledWithin: pulledWithin && pulledWithin * day,
});
