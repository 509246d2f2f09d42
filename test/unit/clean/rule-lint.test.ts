import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findCleanWarnings } from '../../../src/cli/clean/clean-warnings.ts';
import { createRuleCensus, lintRules } from '../../../src/clean/rules/rule-lint.ts';
import type { RuleText } from '../../../src/clean/rules/rule-text.ts';
import { loadText } from '../config/load-text.ts';

const rule = (repositories: string, tags: string, keep: RuleText['keep'] = 'forever'): RuleText => ({
  repositories: repositories.split(' '),
  tags: tags.split(' '),
  keep,
});
const day = 86_400_000;

describe('rules that never decide', () => {
  for (const [rules, numbers] of [
    [[rule('**', '*'), rule('a/b', 'v1')], 'rule 1 comes'],
    [[rule('a/**', 'v*'), rule('a/b a/c/**', 'v1 v2-* v*')], 'rule 1 comes'],
    [[rule('a/**', '*'), rule('b', '*'), rule('a/x b', 'latest')], 'rules 1, 2 come'],
    [[rule('**', 'v*'), rule('**', 'w*'), rule('x', 'v1 w*')], 'rules 1, 2 come'],
    [[rule('**', '*-rc'), rule('x', 'v1-rc')], 'rule 1 comes'],
  ] as const)
    it(`${JSON.stringify(rules.map(({ repositories, tags }) => [repositories, tags]))}: found`, () => {
      const number = rules.length;
      assert.deepEqual(lintRules(rules), [
        {
          path: [number - 1],
          sentence: `rule ${number} can never decide: ${numbers} first for all that it could match`,
        },
      ]);
    });

  for (const rules of [
    [rule('a/**', '*'), rule('**', '*')],
    [rule('**', 'v*'), rule('**', '*')],
    [rule('**', 'v1*'), rule('**', 'v*')],
    [rule('**', 'v*'), rule('x', 'v1 w1')],
    [rule('**', '*-rc'), rule('x', 'v*-rc')],
    [rule('**', 'v1'), rule('**', 'v*')],
    [rule('a', '*'), rule('a b', '*')],
  ])
    it(`${JSON.stringify(rules.map(({ repositories, tags }) => [repositories, tags]))}: not found`, () => {
      assert.deepEqual(lintRules(rules), []);
    });
});

describe('rules that one day retire everything', () => {
  const sentences = (...rules: RuleText[]) => lintRules(rules).map(({ sentence }) => sentence);

  it('finds one that knows only pushes', () => {
    assert.deepEqual(sentences(rule('a', 'x'), rule('**', '*', { pushedWithin: 30 * day })), [
      'rule 2 retires every tag of every repository to which nobody pushes for 30d: add newest, or pulledWithin',
    ]);
    assert.deepEqual(sentences(rule('ci/**', '*', { pushedWithin: 30 * day })), []);
    assert.deepEqual(sentences(rule('**', 'pr-*', { pushedWithin: 30 * day })), []);
    assert.deepEqual(sentences(rule('**', '*', { pushedWithin: 30 * day, newest: 1 })), []);
    assert.deepEqual(sentences(rule('**', '*', { pushedWithin: 30 * day, pulledWithin: day })), []);
  });

  it('finds one that knows only pulls, which retires what is new', () => {
    assert.deepEqual(sentences(rule('x', 'y', { pulledWithin: 30 * day })), [
      'rule 1 retires a new tag that nobody pulls as soon as clean.grace is over: add pushedWithin',
    ]);
    assert.deepEqual(sentences(rule('x', 'y', { pulledWithin: 30 * day, newest: 3 })), []);
  });

  it('is said at the line of the rule', async () => {
    const text =
      'clean:\n  rules:\n    - { repositories: ["**"], tags: ["*"], keep: forever }\n    - repositories: [a]\n      tags: [b]\n      keep: { pulledWithin: 1d }';
    const warnings = findCleanWarnings(await loadText(text));
    assert.deepEqual(
      warnings.map((line) => line.replace(/^(.*?: clean\.rules: rule \d).*$/, '$1')),
      ['x.yml:4: clean.rules: rule 2', 'x.yml:6: clean.rules: rule 2'],
    );
  });
});

describe('a census of what rules decide', () => {
  const rules = [
    rule('ci/** cii/**', '*', { newest: 1 }),
    rule('team/**', '*'),
    rule('**', '*', { newest: 1 }),
  ];

  it('finds patterns that match no repository, and rules that keep nothing', () => {
    const census = createRuleCensus(rules);
    census.addRepository('ci/app');
    census.addTag(1, false);
    census.addTag(1, false);
    census.addTag(3, false);
    assert.deepEqual(census.warnings(), [
      { path: [0, 'repositories', 1], sentence: 'rule 1 names "cii/**", and no repository has such a name' },
      { path: [1, 'repositories', 0], sentence: 'rule 2 names "team/**", and no repository has such a name' },
      { path: [0], sentence: 'rule 1 retires all 2 tags that it decides' },
      { path: [2], sentence: 'rule 3 retires the only tag that it decides' },
    ]);
  });

  it('finds nothing when each rule keeps something, or decides nothing', () => {
    const census = createRuleCensus(rules);
    for (const name of ['ci/app', 'cii/app', 'team/app']) census.addRepository(name);
    census.addTag(1, false);
    census.addTag(1, true);
    assert.deepEqual(census.warnings(), []);
  });
});
