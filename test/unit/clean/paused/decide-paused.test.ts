import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decidePaused, type KnownRepository } from '../../../../src/clean/paused/decide-paused.ts';
import type { ReadManifest } from '../../../../src/clean/paused/registry-reader.ts';
import { findFirstUntagged, untaggedKey } from '../../../../src/clean/plan/untagged-record.ts';
import { compileRules } from '../../../../src/clean/rules/decide.ts';
import type { RuleText } from '../../../../src/clean/rules/rule-text.ts';
import type { UsageRow } from '../../../../src/usage/usage-file.ts';

const day = 86_400_000;
const nowMs = 1000 * day;
const ago = (days: number) => nowMs - days * day;
const d = (letter: string) => `sha256:${letter.repeat(64)}`;
const keep = (limits: RuleText['keep']): RuleText[] => [{ repositories: ['**'], tags: ['*'], keep: limits }];

type Given = {
  tags: Record<string, string>;
  /** What each manifest names, and `subject`. */
  manifests: Record<string, { named?: string[]; subject?: string }>;
  /** Days ago: [pushed, pulled]. */
  usage?: Record<string, [number | null, number | null]>;
  firstUntagged?: Record<string, number>;
  rules?: RuleText[];
  untagged?: number | null;
  sinceDays?: number;
};

function decide({ tags, manifests, usage = {}, firstUntagged = {}, ...more }: Given) {
  const use = (at: number | null) => ({ at: at === null ? null : ago(at), by: null, count: 1 });
  const untagged = new Map(
    Object.entries(firstUntagged).map(([name, days]) => [untaggedKey('app', d(name)), ago(days)]),
  );
  const known: KnownRepository = {
    name: 'app',
    tags: Object.entries(tags).map(([name, digest]) => ({ name, digest: d(digest) })),
    manifests: new Map(
      Object.entries(manifests).map(([name, { named = [], subject }]): [string, ReadManifest] => [
        d(name),
        {
          digest: d(name),
          named: named.map(d),
          manifests: named.map(d),
          subject: subject === undefined ? null : d(subject),
        },
      ]),
    ),
    usage: new Map(
      Object.entries(usage).map(([name, [pushed, pulled]]): [string, UsageRow] => {
        const row = name.length === 1 ? d(name) : name;
        return [row, { name: row, digest: null, pushes: use(pushed), pulls: use(pulled) }];
      }),
    ),
    firstUntaggedMs: (digest, pushedMs) =>
      findFirstUntagged(untagged, { repository: 'app', digest }, pushedMs),
  };
  const decision = decidePaused(known, {
    rules: compileRules(more.rules ?? [], []),
    graceMs: day,
    untaggedMs: more.untagged === undefined ? 7 * day : more.untagged,
    ...{ nowMs, recordSinceMs: ago(more.sinceDays ?? 365) },
  });
  const letters = (digests: readonly string[]) => digests.map((digest) => digest.charAt(7)).join('');
  return {
    tags: decision.tags.flatMap(({ tag, goes }) => (goes ? [tag] : [])),
    manifests: letters(decision.manifests.map(({ digest }) => digest)),
  };
}

test('a tag goes by its push, and its manifest with it', () => {
  const given = { tags: { new: 'a', old: 'b' }, manifests: { a: {}, b: {} } };
  const usage: Given['usage'] = { new: [2, null], old: [40, null] };
  const rules = keep({ pushedWithin: 30 * day });
  assert.deepEqual(decide({ ...given, usage, rules }), { tags: ['old'], manifests: 'b' });
  assert.deepEqual(decide({ ...given, usage, rules, untagged: null }), { tags: ['old'], manifests: '' });
  assert.deepEqual(decide({ ...given, usage }), { tags: [], manifests: '' }, 'no rule');
});

test('what is not in the record happened before it, at the latest at its beginning', () => {
  const given = { tags: { one: 'a', two: 'b' }, manifests: { a: {}, b: {} } };
  const rules = keep({ pushedWithin: 30 * day });
  assert.deepEqual(decide({ ...given, rules, sinceDays: 10 }).tags, []);
  assert.deepEqual(decide({ ...given, rules, sinceDays: 31 }).tags, ['one', 'two']);
  const usage: Given['usage'] = { one: [5, null] };
  assert.deepEqual(decide({ ...given, usage, sinceDays: 31, rules: keep({ newest: 1 }) }).tags, ['two']);
  assert.deepEqual(decide({ ...given, sinceDays: 31, rules: keep({ newest: 1 }) }).tags, []);
});

test('a pull keeps a tag, by its name and by its digest', () => {
  const given = { tags: { one: 'a', two: 'b', six: 'c' }, manifests: { a: {}, b: {}, c: {} } };
  const usage: Given['usage'] = { one: [40, 3], two: [40, null], b: [40, 3], six: [40, 40] };
  const rules = keep({ pulledWithin: 30 * day });
  assert.deepEqual(decide({ ...given, usage, rules }), { tags: ['six'], manifests: 'c' });
});

test('nothing that was used within the grace goes, whatever the rules say', () => {
  const given = { tags: { one: 'a', two: 'b' }, manifests: { a: {}, b: {} } };
  const usage: Given['usage'] = { one: [0.5, null], two: [40, 0.5] };
  assert.deepEqual(decide({ ...given, usage, rules: keep({ pushedWithin: 1000 }) }).tags, []);
});

test('a twin keeps the manifest, and an index its parts', () => {
  const manifests = { i: { named: ['a', 'b'] }, a: {}, b: {} };
  const usage: Given['usage'] = { old: [40, null], new: [2, null] };
  const rules = keep({ pushedWithin: 30 * day });
  const twins = { old: 'i', new: 'i' };
  assert.deepEqual(decide({ tags: twins, manifests, usage, rules }), { tags: ['old'], manifests: '' });
  const { manifests: going } = decide({ tags: { old: 'i' }, manifests, usage, rules });
  assert.equal(going.charAt(0), 'i', 'the index before its parts');
  assert.deepEqual(Array.from(going).sort(), ['a', 'b', 'i']);
  assert.deepEqual(decide({ tags: { old: 'i', new: 'a' }, manifests, usage, rules }).manifests, 'ib');
});

test('a manifest without a tag goes when it was seen so for long enough, and not used since', () => {
  const given = { tags: { now: 'a' }, manifests: { a: {}, b: {} } };
  const usage: Given['usage'] = { now: [2, null], b: [40, null] };
  assert.equal(decide({ ...given, usage }).manifests, '');
  assert.equal(decide({ ...given, usage, firstUntagged: { b: 6 } }).manifests, '');
  assert.equal(decide({ ...given, usage, firstUntagged: { b: 8 } }).manifests, 'b');
  assert.equal(decide({ ...given, usage: { b: [40, 3] }, firstUntagged: { b: 8 } }).manifests, '');
  assert.equal(decide({ ...given, usage, firstUntagged: { b: 8 }, sinceDays: 5 }).manifests, '');
  const again: Given['usage'] = { now: [2, null], b: [10, null] };
  assert.equal(decide({ ...given, usage: again, firstUntagged: { b: 9 } }).manifests, 'b');
  assert.equal(decide({ ...given, usage: again, firstUntagged: { b: 11 } }).manifests, '', 'pushed since');
});

test('referrers and tags of a subject stay and go with it', () => {
  const manifests = { a: {}, s: {}, r: { subject: 'a' } };
  const tags = { one: 'a', [`sha256-${'a'.repeat(64)}.sig`]: 's' };
  const [, signature] = Object.keys(tags);
  const used: Given['usage'] = { one: [40, null], r: [40, null] };
  const rules = keep({ pushedWithin: 30 * day });
  const kept = keep('forever');
  const firstUntagged = { r: 100, s: 100 };
  assert.deepEqual(decide({ tags, manifests, usage: used, rules: kept, firstUntagged }), {
    tags: [],
    manifests: '',
  });
  const gone = decide({ tags, manifests, usage: used, rules, firstUntagged });
  assert.deepEqual(gone.tags, ['one', signature]);
  assert.deepEqual(Array.from(gone.manifests).sort(), ['a', 'r', 's']);
  const elsewhere = { tags: { [signature ?? '']: 's' }, manifests: { s: {} }, rules };
  assert.deepEqual(decide(elsewhere), { tags: [], manifests: '' }, 'a subject of another repository');
});
