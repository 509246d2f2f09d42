import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Exemptions } from '../../src/clean/plan/exemptions.ts';
import { createPlan } from '../../src/clean/plan/create-plan.ts';
import type { PlanOptions } from '../../src/clean/plan/plan-options.ts';
import type { Plan, RepositoryPlan } from '../../src/clean/plan/plan.ts';
import { planJson } from '../../src/clean/plan/plan-json.ts';
import { renderPlan } from '../../src/clean/plan/render-plan.ts';
import { untaggedKey } from '../../src/clean/plan/untagged-record.ts';
import type { RuleText } from '../../src/clean/rules/rule-text.ts';
import { parseTagPattern } from '../../src/policy/tag-pattern.ts';
import { pushImage, pushIndex, pushTag, setPushed, setTimes } from '../support/pushed-images.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { dataPath, linkPath, pushBlob } from '../support/stored-blobs.ts';

const day = 86_400_000;
const nowMs = Date.now();
const daysAgo = (days: number) => nowMs - days * day;

const nothingExempt: Exemptions = {
  restored: { tag: () => null, link: () => null, data: () => null },
  leftAloneUntilMs: () => null,
  findLeased: () => Promise.resolve(new Set()),
};

type Given = {
  readonly rules?: readonly RuleText[];
  readonly immutable?: readonly string[];
  readonly grace?: number;
  readonly untagged?: number | null;
  /** The last pulls in days, by tag or digest; null: nothing is recorded. */
  readonly pulls?: Readonly<Record<string, number>> | null;
  readonly recordDays?: number;
  readonly seen?: PlanOptions['untagged'];
  readonly all?: boolean;
};

describe('a plan for a real docker-registry', { skip: unlessInstalled('docker-registry') }, () => {
  let registry: Registry;
  let url: string;
  let root: string;
  before(async () => {
    registry = await startRegistry();
    ({ url, storageDir: root } = registry);
  });
  after(() => registry.stop());

  const plan = (given: Given = {}): Promise<Plan> => {
    const {
      rules = [],
      immutable = [],
      grace = day,
      untagged = 7 * day,
      pulls = {},
      recordDays = 1000,
    } = given;
    const sinceMs = daysAgo(recordDays);
    const times = new Map(Object.entries(pulls ?? {}).map(([name, days]) => [name, daysAgo(days)]));
    return createPlan({
      root,
      clean: { rules, grace, untagged, pace: 100 },
      immutableTags: immutable.map(parseTagPattern),
      usage:
        pulls === null
          ? null
          : {
              sinceMs,
              read: () => Promise.resolve({ sinceMs, pulls: times }),
              readAll: (names) =>
                Promise.resolve({ sinceMs, pulls: new Map(names.map((name) => [name, times])) }),
            },
      untagged: given.seen ?? new Map(),
      exemptions: nothingExempt,
      nowMs,
      placeOf: (at) => `x.yml:${at.join('.')}`,
      all: given.all ?? false,
    });
  };
  /** What goes, in one line for each repository. */
  const going = ({ repositories }: Plan) =>
    repositories.map(({ name, tags, manifests, links }: RepositoryPlan) => {
      const names = tags.filter(({ goes }) => goes).map(({ tag }) => tag);
      return `${name}: ${names.join(' ')} +${manifests.length} manifests +${links} links`;
    });
  const age = (days: number) => setTimes(path.join(root, 'docker'), daysAgo(days));
  const linkOf = (repository: string, digest: string) =>
    path.join(
      root,
      'docker/registry/v2/repositories',
      repository,
      '_manifests/revisions',
      digest.replace(':', '/'),
    );

  test('of nothing, before anything was pushed', async () => {
    const empty = await plan({ rules: [{ repositories: ['**'], tags: ['*'], keep: { newest: 1 } }] });
    assert.equal(empty.goes, false);
    assert.deepEqual([...empty.faults, ...empty.warnings], []);
    assert.deepEqual(empty.totals.bytes, { goes: 0, stays: 0 });
    assert.match(
      [...renderPlan(empty, { columns: 80, all: false, takesFromMs: null })].join(''),
      /^Goes: nothing\.$/m,
    );
  });

  test('by the rule of CI: the newest, the young and the pulled stay', async () => {
    await registry.forgetAll();
    const names = ['b1', 'b2', 'b3', 'b4', 'b5', 'b6'];
    const shared = randomBytes(5000);
    const images = new Map<string, Awaited<ReturnType<typeof pushImage>>>();
    for (const name of names)
      images.set(name, await pushImage(url, 'ci/app', name, { layers: [shared, randomBytes(1000)] }));
    await pushImage(url, 'team/app', 'b1');
    await age(100);
    for (const [index, name] of names.entries())
      await setPushed(root, 'ci/app', name, daysAgo(60 - index * 10));
    const keep = { newest: 2, pushedWithin: 25 * day, pulledWithin: 90 * day };
    const rules: RuleText[] = [{ repositories: ['ci/**'], tags: ['*'], keep }];
    // Kept: b5 and b6 by push, b3 by a pull of its digest, as containerd pulls.
    const made = await plan({ rules, pulls: { b2: 91, [images.get('b3')?.digest ?? '']: 40 } });
    assert.deepEqual(going(made), ['ci/app: b4 b2 b1 +3 manifests +6 links']);
    const bytesOf = (name: string) => (images.get(name)?.totalBytes ?? 0) - shared.length;
    const [repository] = made.repositories;
    assert.deepEqual(
      repository?.tags.map(({ tag, bytes, why, pulledMs }) => ({ tag, bytes, why, pulledMs })),
      ['b4', 'b2', 'b1'].map((tag) => ({
        tag,
        bytes: bytesOf(tag),
        why: 'rule 1: newest 2, pushedWithin 25d, pulledWithin 90d',
        pulledMs: tag === 'b2' ? daysAgo(91) : null,
      })),
    );
    assert.equal(made.totals.bytes.goes, bytesOf('b4') + bytesOf('b2') + bytesOf('b1'));
    assert.equal(made.totals.blobs.goes, 9);
    assert.deepEqual(repository.stays, { tags: 3, manifests: 3 });
    assert.deepEqual(made.totals.tags, { goes: 3, stays: 4 });
    assert.deepEqual(made.unruled, { kept: 1, retired: 0 });
    assert.equal(going(await plan({ rules, recordDays: 90 })).length, 0, 'a record as young as the rule');
    assert.equal(going(await plan({ rules, pulls: null })).length, 0, 'no record');
    assert.equal(
      going(await plan({ rules, untagged: null }))[0],
      'ci/app: b4 b3 b2 b1 +0 manifests +0 links',
    );
  });

  test('frees what tags share only when all of them go, and counts it once', async () => {
    await registry.forgetAll();
    const shared = randomBytes(9000);
    const one = await pushImage(url, 'a', 'old-1', { layers: [shared] });
    const other = await pushImage(url, 'a', 'old-2', { layers: [shared] });
    const far = await pushImage(url, 'b', 'old-1', { layers: [shared] });
    await pushImage(url, 'b', 'keep');
    await age(100);
    const old = (...repositories: string[]): Given => ({
      rules: [{ repositories, tags: ['old-*'], keep: { pushedWithin: 30 * day } }],
    });
    const own = (image: typeof one) => image.totalBytes - shared.length;
    const part = await plan(old('a'));
    assert.equal(part.totals.bytes.goes, own(one) + own(other));
    const whole = await plan(old('**'));
    assert.equal(whole.totals.bytes.goes, own(one) + own(other) + own(far) + shared.length);
    assert.deepEqual(
      whole.repositories.flatMap(({ tags }) => tags.map(({ bytes }) => bytes)).sort(),
      [own(one), own(other), own(far)].sort(),
    );
  });

  test('keeps releases, immutable tags and twins of what stays', async () => {
    await registry.forgetAll();
    const image = await pushImage(url, 'app', 'v1');
    await pushTag(url, 'app', 'twin', image.digest);
    for (const tag of ['v2', 'locked', 'main']) await pushImage(url, 'app', tag);
    await age(100);
    const made = await plan({
      rules: [
        { repositories: ['**'], tags: ['v*'], keep: 'forever' },
        { repositories: ['**'], tags: ['*'], keep: { pushedWithin: 30 * day } },
      ],
      immutable: ['app:locked'],
      all: true,
    });
    assert.deepEqual(going(made), ['app: main twin +1 manifests +2 links']);
    const [repository] = made.repositories;
    const byTag = new Map(repository?.tags.map((each) => [each.tag, each]));
    assert.equal(byTag.get('twin')?.bytes, 0);
    assert.equal(byTag.get('v1')?.bytes, 0);
    assert.ok((byTag.get('v2')?.bytes ?? 0) > 1000);
    assert.deepEqual(
      ['v1', 'v2', 'locked'].map((tag) => byTag.get(tag)?.why),
      ['rule 1: forever', 'rule 1: forever', 'immutable tag'],
    );
  });

  test('keeps children of indexes, subjects, referrers and signatures of what stays', async () => {
    await registry.forgetAll();
    for (const repository of ['kept', 'old']) {
      const children = [await pushImage(url, repository, null), await pushImage(url, repository, null)];
      const index = await pushIndex(url, repository, 'multi', children);
      await pushImage(url, repository, null, { subject: index });
      await pushImage(url, repository, `sha256-${index.digest.slice(7)}.sig`);
      const subject = await pushImage(url, repository, null);
      await pushImage(url, repository, 'referrer', { subject });
    }
    await pushImage(url, 'kept', `sha256-${'0'.repeat(64)}.sig`); // its subject is in another repository
    await age(100);
    const rules: RuleText[] = [{ repositories: ['old'], tags: ['*'], keep: { pushedWithin: 30 * day } }];
    const made = await plan({ rules });
    assert.equal(made.repositories.length, 1);
    assert.equal(made.repositories[0]?.manifests.length, 7);
    assert.deepEqual(made.repositories[0].stays, { tags: 0, manifests: 0 });
    assert.equal(
      made.repositories[0].tags.find(({ tag }) => tag.startsWith('sha256-'))?.why,
      'its subject goes',
    );
    assert.deepEqual(made.totals.tags, { goes: 3, stays: 4 });
    // A child that somebody pulled lately stays, without its index.
    const [child] = made.repositories[0].manifests;
    const pulled = await plan({ rules, pulls: { [child?.digest ?? '']: 3 } });
    assert.ok((pulled.repositories[0]?.manifests.length ?? 0) < 7);
    assert.ok(!pulled.repositories[0]?.manifests.some(({ digest }) => digest === child?.digest));
  });

  test('keeps what was written, pushed or pulled within clean.grace', async () => {
    await registry.forgetAll();
    const image = await pushImage(url, 'app', 'old');
    await pushImage(url, 'app', 'new');
    await age(100);
    const rules: RuleText[] = [{ repositories: ['**'], tags: ['*'], keep: { newest: 1 } }];
    await setPushed(root, 'app', 'new', daysAgo(50));
    assert.equal(going(await plan({ rules })).length, 1);
    const pulled = await plan({ rules, pulls: { old: 0.5 }, all: true });
    assert.equal(pulled.goes, false);
    assert.equal(pulled.repositories[0]?.tags[1]?.why, 'pulled within clean.grace');
    await setPushed(root, 'app', 'new', daysAgo(0.2));
    await setPushed(root, 'app', 'old', daysAgo(0.5));
    const pushed = await plan({ rules, all: true });
    assert.equal(pushed.repositories[0]?.tags[1]?.why, 'pushed within clean.grace');
    await setPushed(root, 'app', 'old', daysAgo(60));
    await setTimes(path.dirname(path.join(root, dataPath(image.digest))), daysAgo(0.5));
    assert.deepEqual(going(await plan({ rules })), ['app: old +0 manifests +0 links']);
    // Data that was uploaded again lately stays, and the link to it.
    await age(100);
    await setPushed(root, 'app', 'new', daysAgo(50));
    await setTimes(path.dirname(path.join(root, dataPath(image.layers[0] ?? ''))), daysAgo(0.5));
    const made = await plan({ rules });
    assert.equal(made.totals.links.goes, 1);
    assert.equal(made.totals.blobs.goes, 2);
  });

  test('counts the age of manifests without a tag from what is known', async () => {
    await registry.forgetAll();
    const first = await pushImage(url, 'app', 'main');
    await pushImage(url, 'app', 'main');
    const alone = await pushImage(url, 'app', null);
    await age(100);
    const lines = async (given: Given = {}) =>
      (await plan(given)).repositories
        .flatMap(({ manifests }) => manifests.map(({ digest }) => digest))
        .sort();
    assert.deepEqual(await lines(), [first.digest, alone.digest].sort());
    assert.deepEqual(await lines({ untagged: null }), []);
    assert.deepEqual(await lines({ untagged: 101 * day }), []);
    assert.deepEqual(await lines({ pulls: { [alone.digest]: 6 } }), [first.digest]);
    assert.deepEqual(await lines({ pulls: { [alone.digest]: 8 } }), [first.digest, alone.digest].sort());
    assert.deepEqual(await lines({ recordDays: 6 }), []);
    assert.deepEqual(await lines({ pulls: null }), []);
    assert.deepEqual(await lines({ pulls: null, untagged: 0 }), [first.digest, alone.digest].sort());
    // The tag moved on 3 days ago.
    await setTimes(path.join(root, 'docker/registry/v2/repositories/app/_manifests/tags/main'), daysAgo(3));
    await setTimes(
      path.join(
        root,
        `docker/registry/v2/repositories/app/_manifests/tags/main/index/sha256/${first.digest.slice(7)}`,
      ),
      daysAgo(90),
    );
    assert.deepEqual(await lines(), [alone.digest]);
    // Another tag was removed 2 days ago: it could have led to any manifest, unless an earlier run saw it without.
    await setTimes(path.join(root, 'docker'), daysAgo(100));
    await pushImage(url, 'app', 'other');
    await rm(path.join(root, 'docker/registry/v2/repositories/app/_manifests/tags/other'), {
      recursive: true,
    });
    assert.deepEqual(await lines(), []);
    const seen = new Map([[untaggedKey('app', alone.digest), daysAgo(8)]]);
    assert.deepEqual(await lines({ seen }), [alone.digest]);
    const { untagged } = await plan({ seen });
    assert.equal(untagged.get(untaggedKey('app', first.digest)), nowMs);
    assert.equal(untagged.has(untaggedKey('app', alone.digest)), false);
    // It was pushed after that, so the tag that was removed could have led to it.
    await setTimes(
      path.join(
        root,
        `docker/registry/v2/repositories/app/_manifests/revisions/sha256/${alone.digest.slice(7)}`,
      ),
      daysAgo(7.5),
    );
    assert.deepEqual(await lines({ seen }), []);
    assert.equal((await plan({ seen })).untagged.get(untaggedKey('app', alone.digest)), nowMs);
  });

  test('frees data that nothing links, and links that no manifest names', async () => {
    await registry.forgetAll();
    const image = await pushImage(url, 'app', 'v1');
    const orphan = await pushBlob(url, 'app', randomBytes(700));
    const linked = await pushBlob(url, 'app', randomBytes(900));
    await age(100);
    await rm(path.join(root, path.dirname(linkPath('app', orphan))), { recursive: true });
    const made = await plan();
    assert.deepEqual(going(made), ['app:  +0 manifests +1 links']);
    assert.deepEqual(
      new Set([...made.blobs].map(({ digest, bytes }) => `${digest} ${bytes}`)),
      new Set([`${orphan} 700`, `${linked} 900`]),
    );
    assert.equal(made.totals.bytes.goes, 1600);
    assert.ok(image.totalBytes === made.totals.bytes.stays);
    assert.equal((await plan({ grace: 101 * day })).goes, false);
  });

  test('keeps what an unreadable link or manifest may name', async () => {
    await registry.forgetAll();
    const old = await pushImage(url, 'app', 'old');
    await pushImage(url, 'app', 'new');
    const free = await pushBlob(url, 'other', randomBytes(100));
    await age(100);
    await setPushed(root, 'app', 'new', daysAgo(50));
    const rules: RuleText[] = [{ repositories: ['**'], tags: ['*'], keep: { newest: 1 } }];
    const layer = path.join(root, linkPath('other', free));
    await truncate(layer, 0);
    await setTimes(path.join(root, 'docker/registry/v2/repositories/other'), daysAgo(100));
    const emptyLink = await plan({ rules });
    assert.deepEqual(going(emptyLink), ['app: old +1 manifests +2 links']);
    assert.equal(emptyLink.faults.length, 1);
    await writeFile(path.join(root, dataPath(old.digest)), 'x');
    await age(100);
    const broken = await plan({ rules, all: true });
    assert.equal(broken.goes, false);
    assert.equal(
      broken.repositories[0]?.tags.some(({ goes }) => goes),
      false,
    );
    const text = [...renderPlan(broken, { columns: 80, all: true, takesFromMs: null })].join('');
    assert.match(text, /does not have the bytes of its digest/);
    await rm(linkOf('app', old.digest), { recursive: true });
    const dangling = await plan({ rules });
    assert.equal(dangling.repositories.length, 1);
  });

  test('says the same in text and JSON, and warns of rules', async () => {
    await registry.forgetAll();
    for (const tag of ['b1', 'b2']) await pushImage(url, 'ci/app', tag);
    await age(100);
    const rules: RuleText[] = [
      { repositories: ['cii/**'], tags: ['*'], keep: 'forever' },
      { repositories: ['ci/**'], tags: ['*'], keep: { pushedWithin: 30 * day } },
    ];
    const made = await plan({ rules });
    assert.deepEqual(made.warnings, [
      'x.yml:0.repositories.0: clean.rules: rule 1 names "cii/**", and no repository has such a name.',
      'x.yml:1: clean.rules: rule 2 retires all 2 tags that it decides.',
    ]);
    const json = JSON.parse([...planJson(made)].join('')) as Record<string, unknown>;
    assert.deepEqual(Object.keys(json), [
      'asOf',
      'recordSince',
      'goes',
      'totals',
      'rules',
      'unruled',
      'exempt',
      'repositories',
      'blobs',
      'warnings',
      'faults',
      'moreFaults',
    ]);
    const text = [...renderPlan(made, { columns: 80, all: false, takesFromMs: null })].join('');
    assert.match(text, /^ci\/app: 2 tags, 2 manifests and 4 links to blobs go; 0 tags stay$/m);
    assert.match(text, /^ {2}rule 2: pushedWithin 30d$/m);
    assert.match(text, /^Next: tidegate clean run takes this/m);
    assert.ok(
      text.split('\n').every((line) => line.length <= 80),
      text,
    );
  });
});
