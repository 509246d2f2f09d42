import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { runClean } from '../../../src/clean/run/run.ts';
import { dataPath, repositoryPath } from '../../../src/clean/quarantine/item.ts';
import { tellNothing } from '../../support/altered-doors.ts';
import {
  ageStorage,
  digestOf,
  imageOf,
  imageType,
  startCleanedRegistry,
  type CleanedRegistry,
} from '../../support/cleaned-registry.ts';
import { copyProgram, type Omission } from '../../support/program-copy.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/*
 * Guard 7 of the clean-up: with it an image stays whole, and with a copy of the program without it, in the same history, that
 * image is lost.
 */

const hourMs = 3_600_000;
const skip = unlessInstalled('docker-registry');

/** A history in which an image depends on guard 7. */
type Trial = {
  readonly what: string;
  readonly omissions: readonly Omission[];
  /** Makes an image, and what the run must not misunderstand. @returns what undoes the latter */
  prepare(registry: CleanedRegistry, repository: string): Promise<() => void>;
  /** Null: the image is whole. */
  find(registry: CleanedRegistry, repository: string): Promise<string | null>;
  readonly lost: RegExp;
  readonly keep?: object;
};

/** Replaces the content of a file, or of a link. @returns what undoes it */
function overwrite(file: string, content: string): () => void {
  const original = readFileSync(file);
  writeFileSync(file, content);
  return () => writeFileSync(file, original);
}

const keepsNothingInDoubt: Omission = {
  file: 'clean/scan/mark.js',
  from: 'const keepsAll = scan.faults',
  to: 'const keepsAll = false, ignored = scan.faults',
};
const repositoryOf = ({ root }: CleanedRegistry, name: string) => path.join(root, repositoryPath(name));

const trials: readonly Trial[] = [
  {
    what: 'a manifest that cannot be read for a while keeps its layers',
    omissions: [keepsNothingInDoubt],
    prepare: async (registry, repository) => {
      const { digest } = await registry.push(repository, 'v1', [
        `config ${repository}`,
        `layer ${repository}`,
      ]);
      return overwrite(path.join(registry.root, dataPath(digest), 'data'), '{');
    },
    find: (registry, repository) => registry.pull(repository, 'v1'),
    lost: /^blob/,
  },
  {
    what: 'an empty link of a tag keeps the manifest to which it may lead',
    omissions: [keepsNothingInDoubt],
    prepare: async (registry, repository) => {
      await registry.push(repository, 'v1', [`config ${repository}`, `layer ${repository}`]);
      return overwrite(path.join(repositoryOf(registry, repository), '_manifests/tags/v1/current/link'), '');
    },
    find: (registry, repository) => registry.pull(repository, 'v1'),
    lost: /^manifest v1: 404/,
  },
  {
    what: 'behind a symbolic link there may be links to everything',
    omissions: [
      {
        file: 'clean/plan/plan-tally.js',
        from: "if (fault.keeps === 'storage')",
        to: 'if (false)',
      },
      { file: 'clean/run/take-data.js', from: 'if (links.keepsData)', to: 'if (false)' },
    ],
    prepare: async (registry, repository) => {
      await registry.push(repository, 'v1', [`config ${repository}`, `layer ${repository}`]);
      const [from, to] = [repositoryOf(registry, repository), path.join(registry.root, repository)];
      renameSync(from, to);
      symlinkSync(to, from);
      return () => {
        rmSync(from);
        renameSync(to, from);
      };
    },
    find: (registry, repository) => registry.pull(repository, 'v1'),
    lost: /404/,
  },
  {
    what: "a link's content counts, not its name",
    omissions: [
      {
        file: 'clean/scan/repository-scan.js',
        from: 'digest: link.digest ?? linkedAs',
        to: 'digest: linkedAs',
      },
    ],
    prepare: async (registry, repository) => {
      const texts = [`config ${repository}`, `layer ${repository}`];
      const { layers } = await registry.push(repository, 'other', texts);
      const [, layer = ''] = layers;
      const name = await pushAsSha512(registry, repository, texts[1] ?? '');
      const body = imageOf(texts).replace(layer, name);
      assert.equal((await registry.retag(repository, 'v1', body)).status, 201);
      return () => {};
    },
    find: async ({ client }, repository) => {
      const text = `layer ${repository}`;
      const blob = await client.ask('GET', `/v2/${repository}/blobs/${sha512Of(text)}`);
      return blob.status === 200 && blob.body.toString() === text ? null : `blob: ${blob.status}`;
    },
    lost: /^blob: 404/,
  },
  {
    what: 'no pull is older than the record: a new one retires nothing',
    omissions: [
      { file: 'clean/rules/decide.js', from: 'nowMs - recordSinceMs <= pulledWithin', to: 'false' },
    ],
    prepare: async (registry, repository) => {
      await registry.push(repository, 'v1', [`config ${repository}`, `layer ${repository}`]);
      ageStorage(registry.root, 2 * hourMs);
      return () => {};
    },
    find: (registry, repository) => registry.pull(repository, 'v1'),
    keep: { pulledWithin: hourMs },
    lost: /^manifest v1: 404/,
  },
];

const sha512Of = (text: string) => `sha512:${createHash('sha512').update(text).digest('hex')}`;

async function pushAsSha512({ client }: CleanedRegistry, repository: string, text: string): Promise<string> {
  const begun = await client.ask('POST', `/v2/${repository}/blobs/uploads/`);
  const { pathname, search } = new URL(begun.header('Location'), 'https://localhost');
  const done = await client.ask('PUT', `${pathname}${search}&digest=${sha512Of(text)}`, {
    headers: { 'Content-Type': 'application/octet-stream' },
    body: text,
  });
  assert.equal(done.status, 201);
  return sha512Of(text);
}

/** Gives a run of a copy of the program to `use`. */
async function withoutGuard(
  omissions: readonly Omission[],
  use: (run: typeof runClean) => Promise<void>,
): Promise<void> {
  const copy = await copyProgram(omissions);
  try {
    const { runClean: run } = (await copy.load('clean/run/run.js')) as { runClean: typeof runClean };
    await use(run);
  } finally {
    await copy.remove();
  }
}

describe('guard 7', { skip }, () => {
  let registry: CleanedRegistry;
  before(async () => (registry = await startCleanedRegistry()));
  after(() => registry.stop());

  const tryIt = async (trial: Trial, by?: typeof runClean) => {
    const { keep = { newest: 1 } } = trial;
    const repository = `trial-${(trialCount += 1)}`;
    const undo = await trial.prepare(registry, repository);
    await registry.run({
      ...(by && { by }),
      clean: {
        rules: [{ repositories: [repository], tags: ['*'], keep }],
        ...{ grace: 0, untagged: 0, pace: 100, quarantine: 24 * hourMs },
      },
      // Later than what is not in the record yet.
      nowMs: () => Date.now() + 60_000,
    });
    undo();
    return trial.find(registry, repository);
  };
  let trialCount = 0;

  for (const trial of trials)
    test(`${trial.what}; without that an image is lost`, async () => {
      assert.equal(await tryIt(trial), null);
      await withoutGuard(trial.omissions, async (run) => {
        assert.match((await tryIt(trial, run)) ?? 'nothing is lost', trial.lost);
      });
    });
});

describe('guard 7: age', { skip }, () => {
  let registry: CleanedRegistry;
  before(async () => (registry = await startCleanedRegistry({ graceMs: hourMs })));
  after(() => registry.stop());

  /** Pushes an old manifest again, by its digest, and cleans. Nobody remembers that push. */
  const pushAgain = async (repository: string, by?: typeof runClean) => {
    const texts = [`config ${repository}`, 'layer'];
    const body = imageOf(texts);
    await registry.push(repository, 'v1', texts);
    const { status: removed } = await registry.client.ask('DELETE', `/v2/${repository}/manifests/v1`);
    assert.equal(removed, 202);
    ageStorage(registry.root, 2 * hourMs);
    assert.equal((await registry.retag(repository, digestOf(body), body)).status, 201);
    await registry.run({ ...(by && { by }), doors: tellNothing(registry.cleaner.doors) });
    const { status } = await registry.client.ask('GET', `/v2/${repository}/manifests/${digestOf(body)}`, {
      headers: { Accept: imageType },
    });
    return status;
  };

  test('counts from the newest time of data and links; by that of the data alone an image is lost', async () => {
    assert.equal(await pushAgain('whole'), 200);
    const omissions = [
      {
        file: 'clean/plan/repository-decision.js',
        from: 'Math.max(linkMtimeMs, dataMtimeMs ?? 0)',
        to: '(dataMtimeMs ?? 0)',
      },
      {
        file: 'clean/run/repository-steps.js',
        from: 'Math.max(manifest.linkMtimeMs, manifest.dataMtimeMs ?? 0, layerMs.get(manifest.digest) ?? 0)',
        to: '(manifest.dataMtimeMs ?? 0)',
      },
    ];
    await withoutGuard(omissions, async (run) => {
      assert.equal(await pushAgain('lost', run), 404);
    });
  });
});
