import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Plan, PlannedTag } from '../../../../src/clean/plan/plan.ts';
import { planJson } from '../../../../src/clean/plan/plan-json.ts';
import { renderPlan, type RenderOptions } from '../../../../src/clean/plan/render-plan.ts';

const day = 86_400_000;
const nowMs = Date.UTC(2026, 10, 29, 14);
const tag = (name: string, rest: Partial<PlannedTag> = {}): PlannedTag => ({
  tag: name,
  digest: `sha256:${'a'.repeat(64)}`,
  goes: true,
  rule: 1,
  why: 'rule 1: newest 10, pushedWithin 30d, pulledWithin 90d',
  pushedMs: nowMs - 45 * day,
  pulledMs: null,
  bytes: 1536,
  ...rest,
});
const digest = `sha256:${'0123456789ab'.repeat(5)}0123`;

const plan: Plan = {
  asOfMs: nowMs,
  recordSinceMs: nowMs - 100 * day,
  untaggedMs: 7 * day,
  goes: true,
  repositories: [
    {
      name: 'ci/app\u001b[2J',
      tags: [
        tag('short', { pulledMs: nowMs - 3_600_000, bytes: 0 }),
        tag('x'.repeat(128), { bytes: 3 * 1024 ** 3 }),
        tag('kept', { goes: false, why: 'rule 1: among the newest 10', pushedMs: nowMs - 60_000 }),
      ],
      manifests: [
        { digest, isOfTag: false, pushedMs: nowMs - 9 * day, pulledMs: null, untaggedMs: 0, bytes: 1023 },
        { digest, isOfTag: true, pushedMs: 9e15, pulledMs: null, untaggedMs: 0, bytes: 0 },
      ],
      links: 1,
      stays: { tags: 1, manifests: 0 },
    },
  ],
  rules: [
    {
      rule: 1,
      words: 'newest 10, pushedWithin 30d, pulledWithin 90d',
      kept: 1,
      retired: 2,
      waitsUntilMs: null,
    },
  ],
  unruled: { kept: 4, retired: 0 },
  totals: {
    repositories: 1,
    tags: { goes: 2, stays: 5 },
    manifests: { goes: 2, stays: 4, waiting: 1 },
    links: { goes: 1, stays: 9 },
    blobs: { goes: 5, stays: 8 },
    bytes: { goes: 1024 ** 2 - 1, stays: 7 },
  },
  exempt: {
    restored: { tags: 1, manifests: 0, untilMs: nowMs + 7 * day },
    askedFor: { tags: 0, manifests: 2, blobs: 1 },
    leftAlone: [{ name: 'ci/odd', untilMs: nowMs + day }],
  },
  blobs: [{ digest, bytes: 1023 }],
  warnings: ['x.yml:7: clean.rules: rule 1 names "\u202e", and no repository has such a name.'],
  faults: Array.from({ length: 21 }, (_, index) => ({
    path: `p${index}`,
    why: 'is empty',
    keeps: 'itself' as const,
  })),
  moreFaults: 3,
  untagged: new Map(),
};

const render = (made: Plan, options: RenderOptions) => [...renderPlan(made, options)].join('');

describe('renderPlan', () => {
  it('fits 80 columns, but for names that do not', () => {
    const lines = render(plan, { columns: 80, all: true, takesFromMs: null }).split('\n');
    const long = lines.filter((line) => line.length > 80);
    assert.deepEqual(long, [`    ${'x'.repeat(128)}`]);
  });

  it('says what goes and what stays', () => {
    assert.equal(
      render({ ...plan, faults: [], moreFaults: 0 }, { columns: 40, all: true, takesFromMs: null }).replace(
        /^ {4}x+$/m,
        '    xx',
      ),
      `Plan as of 2026-11-29 14:00Z; nothing was changed.
Pulls are recorded since 2026-08-21 14:00Z.

ci/app\\u{1b}[2J: 2 tags, 2 manifests and 1 link to a blob go; 1 tag stays
  rule 1: newest 10, pushedWithin 30d, pulledWithin 90d
                                                  pushed   last pull   own bytes
    short                                        45d ago      1h ago         0 B
    xx
                                                 45d ago        none     3.0 GiB
  no tag, index or referrer leads to it: untagged 7d
                                                  pushed   last pull   own bytes
    sha256:0123456789ab                           9d ago        none      1023 B
  stays: rule 1: among the newest 10
                                                  pushed   last pull   own bytes
    kept                                          1m ago        none     1.5 KiB

Stays: 5 tags and 4 manifests in 1 repository, 7 B.
  rule 1 (newest 10, pushedWithin 30d, pulledWithin 90d): keeps 1, retires 2
  no rule decides: 4
  1 manifest waits for the end of clean.untagged or clean.grace: no tag that
    stays leads there
  restored by undo, kept until 2026-12-06 14:00Z: 1 tag
  asked for within clean.grace: 2 manifests and 1 blob
  ci/odd: a delete had an unknown outcome there: left alone until 2026-11-30
    14:00Z

Goes: 2 tags, 2 manifests, 1 link to a blob and 5 blobs. 1.0 MiB come free.

Warning: x.yml:7: clean.rules: rule 1 names "\\u{202e}", and no repository has
  such a name.

Next: tidegate clean run takes this, and tidegate clean undo brings it back.
`,
    );
  });

  it('says what holds a run back', () => {
    const options = { columns: 80, all: false, takesFromMs: nowMs + day };
    const [rule] = plan.rules;
    assert.ok(rule);
    const rules = [{ ...rule, retired: 0, waitsUntilMs: nowMs + 30 * day }];
    const text = render({ ...plan, rules }, options);
    assert.match(text, /retires 0;\n {4}retires nothing before 2026-12-29 14:00Z, since/);
    assert.match(text, /^Next: tidegate clean run takes this after 2026-11-30 14:00Z, once clean\.grace/m);
    assert.match(
      render({ ...plan, goes: false, rules: [] }, options),
      /^Next: write clean\.rules\. Without rules every tag stays\.$/m,
    );
  });

  it('leaves out what stays, and sums up faults', () => {
    const text = render(plan, { columns: 200, all: false, takesFromMs: null });
    assert.doesNotMatch(text, /^ {4}kept/m);
    assert.match(text, /^ {2}p19: is empty\n {2}and 4 more$/m);
  });
});

describe('planJson', () => {
  it('has no character that a terminal obeys, and says the same', () => {
    const json = [...planJson(plan)].join('');
    assert.doesNotMatch(json, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    const { repositories, warnings } = JSON.parse(json) as {
      repositories: { repository: string; tags: object[]; manifests: { pushed: string }[] }[];
      warnings: string[];
    };
    assert.equal(repositories[0]?.repository, 'ci/app\u001b[2J');
    assert.deepEqual(repositories[0].tags[0], {
      tag: 'short',
      digest: `sha256:${'a'.repeat(64)}`,
      goes: true,
      rule: 1,
      why: 'rule 1: newest 10, pushedWithin 30d, pulledWithin 90d',
      pushed: '2026-10-15T14:00:00.000Z',
      lastPull: '2026-11-29T13:00:00.000Z',
      bytes: 0,
    });
    assert.equal(repositories[0].manifests[1]?.pushed, '+275760-09-13T00:00:00.000Z');
    assert.deepEqual(warnings, plan.warnings);
  });
});
