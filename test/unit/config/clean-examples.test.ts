import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { findCleanWarnings } from '../../../src/cli/clean/clean-warnings.ts';
import { compileRules, type TagFacts } from '../../../src/clean/rules/decide.ts';
import { parseTagPattern } from '../../../src/policy/tag-pattern.ts';
import { root } from '../../support/documents.ts';
import { loadText } from './load-text.ts';

const folder = `${root}config/clean/`;
const files = readdirSync(folder);
const day = 86_400_000;
const nowMs = Date.UTC(2026, 10, 29);

/** Tags by their last push and pull in days, and those of them that go. The newest come last. */
const cases: Readonly<
  Record<string, { repository: string; tags: Record<string, [number, number?]>; go: string[] }>
> = {
  'ci-short-lived.yml': {
    repository: 'ci/app',
    tags: {
      v1: [900],
      latest: [900],
      old: [50],
      pulled: [50, 20],
      ...Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`b${index}`, [40 - index]])),
    },
    go: ['old'],
  },
  'releases-and-branches.yml': {
    repository: 'team/app',
    tags: {
      v1: [900],
      'release-2': [900],
      'pr-1': [8],
      'pr-2': [6],
      a: [40],
      b: [35],
      c: [34],
      d: [33],
      e: [20],
    },
    go: ['pr-1', 'a', 'b'],
  },
  'mirror-by-last-pull.yml': {
    repository: 'mirror/debian',
    tags: { new: [29], used: [500, 89], unused: [500, 91], never: [500] },
    go: ['unused', 'never'],
  },
};

describe('the examples in config/clean', () => {
  it('are tried below, each of them', () => {
    assert.deepEqual(files.toSorted(), Object.keys(cases).toSorted());
  });

  for (const [file, { repository, tags, go }] of Object.entries(cases))
    it(`${file} is valid, gives no warning, and retires what it says`, async () => {
      const loaded = await loadText(readFileSync(folder + file));
      assert.deepEqual(findCleanWarnings(loaded), []);
      const { clean, immutableTags } = loaded.config;
      const facts = Object.entries(tags).map(([name, [pushed, pulled]]): TagFacts => ({
        name,
        pushedMs: nowMs - pushed * day,
        pulledMs: pulled === undefined ? null : nowMs - pulled * day,
      }));
      const rules = compileRules(clean.rules, immutableTags.map(parseTagPattern));
      const decide = (where: string, recordDays: number) => {
        const verdicts = rules.decide(where, facts, { nowMs, recordSinceMs: nowMs - recordDays * day });
        return facts.flatMap(({ name }, index) => (verdicts[index]?.keep === true ? [] : [name]));
      };
      assert.deepEqual(decide(repository, 1000), go);
    });

  it('are published', () => {
    const { files: published } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
      files: string[];
    };
    assert.ok(published.includes('config/clean/*.yml'));
  });
});
