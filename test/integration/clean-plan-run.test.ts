import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Doors } from '../../src/clean/channel/doors.ts';
import { leaveAlone } from '../../src/clean/quarantine/left-alone.ts';
import { createOnlineWork, nothingTaken } from '../../src/clean/server/online-work.ts';
import { version } from '../../src/config/version.ts';
import { digestOf, startCleanedRegistry, type CleanedRegistry } from '../support/cleaned-registry.ts';
import { pushImage, pushIndex, pushTag, setPushed, setTimes } from '../support/pushed-images.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hourMs = 3_600_000;
const nowMs = Date.now();

type PlanJson = {
  goes: boolean;
  totals: { links: { goes: number } };
  exempt: {
    restored: { tags: number; manifests: number; until: string | null };
    askedFor: { tags: number; manifests: number; blobs: number };
    leftAlone: { repository: string; until: string }[];
  };
  repositories: {
    repository: string;
    tags: { tag: string; goes: boolean; why: string }[];
    manifests: { digest: string }[];
  }[];
  blobs: { digest: string }[];
};

/** The front doors, as if they had been running for ever. */
const sinceEver = (doors: Doors): Doors => ({
  ...doors,
  check: async () => ({ ...(await doors.check()), leasesSince: 0 }),
  evidence: async (question) => ({ ...(await doors.evidence(question)), leasesSince: 0 }),
});

describe(
  'a run takes what its plan names',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: CleanedRegistry;
    before(async () => (registry = await startCleanedRegistry({ graceMs: hourMs })));
    after(() => registry.stop());

    const taken: string[] = [];
    const open = () =>
      createOnlineWork({
        folder: registry.folder,
        doors: sinceEver(registry.cleaner.doors),
        logger: {
          info: (fields: { what?: string; repository?: string; tag?: string; digest?: string }) => {
            const { what, repository, tag, digest } = fields;
            if (what === 'layer') taken.push('a link');
            else if (what !== undefined)
              taken.push(what === 'tag' ? `${repository}:${tag}` : `${repository ?? 'data'}@${digest}`);
          },
          warn: () => {},
        },
        settings: {
          ...{ version, schedule: null, immutableTags: [], placeOf: (at) => at.join('.') },
          clean: {
            rules: [{ repositories: ['**'], tags: ['*'], keep: { newest: 1 } }],
            ...{ grace: hourMs, untagged: 0, pace: 100, quarantine: 24 * hourMs },
          },
        },
        startedAt: nowMs,
        memory: { failures: 0, taken: nothingTaken },
      });
    const context = { signal: new AbortController().signal, onProgress: () => {} };
    const plan = async (all = false) => {
      const { pieces } = await open().plan({ json: true, all, columns: 80 }, context);
      return JSON.parse([...pieces].join('')) as PlanJson;
    };
    const listed = ({ repositories, blobs, totals }: PlanJson) =>
      [
        ...repositories.flatMap(({ repository, tags, manifests }) => [
          ...tags.filter(({ goes }) => goes).map(({ tag }) => `${repository}:${tag}`),
          ...manifests.map(({ digest }) => `${repository}@${digest}`),
        ]),
        ...Array.from({ length: totals.links.goes }, () => 'a link'),
        ...blobs.map(({ digest }) => `data@${digest}`),
      ].sort();
    const run = async () => {
      taken.length = 0;
      await open().run(context);
      return taken.toSorted();
    };
    const pushAll = async (repository: string, ...tags: readonly string[]) => {
      const images = [];
      for (const tag of tags)
        images.push(
          await pushImage(registry.registry.url, repository, tag, {
            layers: [Buffer.from('shared'), Buffer.from(`${repository} ${tag}`)],
          }),
        );
      return images;
    };
    /** As if all had been pushed long ago, the tags in this order. */
    const age = async (repository: string, ...tags: readonly string[]) => {
      for (const [index, tag] of tags.entries())
        await setPushed(registry.root, repository, tag, nowMs - (100 - index) * hourMs);
    };
    const ask = async (method: string, target: string) => {
      const { status } = await registry.client.ask(method, target, {
        headers: { Accept: 'application/vnd.oci.image.manifest.v1+json' },
      });
      assert.equal(status, 200, target);
    };

    test('with twins, what undo restored, what was asked for, and what is left alone', async () => {
      const { url } = registry.registry;
      const aged = path.join(registry.root, 'docker');
      await pushAll('undone', 'v1', 'v2');
      await setTimes(aged, nowMs - 200 * hourMs);
      await age('undone', 'v1', 'v2');
      const first = listed(await plan());
      assert.ok(first.includes('undone:v1'));
      assert.deepEqual(await run(), first);
      await open().undo(null, context);

      const [asked, plain] = await pushAll('app', 'asked', 'plain', 'newest');
      const [child] = await pushAll('index', 'child');
      assert.ok(asked && plain && child);
      await pushTag(url, 'app', 'twin', plain.digest);
      await pushAll('layer', 'v1', 'v2');
      await pushAll('alone', 'v1', 'v2');
      const list = await pushIndex(url, 'index', 'list', [child]);
      await pushAll('index', 'newest');
      // The index stays in any case, since its other tag is the newest.
      const [part] = await pushAll('twins', 'part');
      assert.ok(part);
      const both = await pushIndex(url, 'twins', 'old', [part]);
      await pushTag(url, 'twins', 'newest', both.digest);
      await setTimes(aged, nowMs - 200 * hourMs);
      await age('undone', 'v1', 'v2');
      await age('app', 'asked', 'plain', 'twin', 'newest');
      await age('layer', 'v1', 'v2');
      await age('alone', 'v1', 'v2');
      await age('index', 'child', 'list', 'newest');
      await age('twins', 'part', 'old', 'newest');
      await leaveAlone(registry.folder, ['alone'], { untilMs: nowMs + 24 * hourMs, nowMs });
      await ask('HEAD', `/v2/app/manifests/asked`);
      await ask('HEAD', `/v2/layer/blobs/${digestOf('layer v1')}`);
      await ask('HEAD', `/v2/index/manifests/${child.digest}`);
      await ask('HEAD', `/v2/twins/manifests/${part.digest}`);

      const made = await plan(true);
      const names = listed(made);
      for (const name of ['app:plain', 'app:twin', `app@${plain.digest}`, 'layer:v1'])
        assert.ok(names.includes(name), name);
      for (const name of [
        ...['undone:v1', 'app:asked', `app@${asked.digest}`, 'alone:v1', 'index:child', 'index:list'],
        ...[`index@${child.digest}`, `index@${list.digest}`, `data@${digestOf('layer v1')}`],
        ...['twins:part', 'twins:old'],
      ])
        assert.ok(!names.includes(name), name);
      const whys = new Map(
        made.repositories.flatMap(({ repository, tags }) =>
          tags.map(({ tag, why }) => [`${repository}:${tag}`, why] as const),
        ),
      );
      assert.match(whys.get('undone:v1') ?? '', /^restored by undo, kept until 20\d\d-.*Z$/);
      assert.equal(whys.get('app:asked'), 'asked for within clean.grace');
      assert.match(whys.get('alone:v1') ?? '', /^a delete had an unknown outcome here: left alone until /);
      assert.equal(made.exempt.restored.tags, 1);
      assert.equal(whys.get('twins:old'), 'asked for within clean.grace');
      assert.equal(made.exempt.askedFor.tags, 5);
      assert.deepEqual(
        made.exempt.leftAlone.map(({ repository }) => repository),
        ['alone'],
      );

      assert.deepEqual(await run(), names);
      assert.equal((await plan()).goes, false);
      for (const [repository, tag] of [
        ['undone', 'v1'],
        ['app', 'asked'],
        ['alone', 'v1'],
        ['index', 'child'],
        ['index', list.digest],
      ] as const)
        assert.equal(await registry.pull(repository, tag), null);
      assert.deepEqual(await run(), []);
    });
  },
);
