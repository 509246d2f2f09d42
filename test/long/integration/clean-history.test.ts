import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { dataPath } from '../../../src/clean/quarantine/item.ts';
import { scanRepositories } from '../../../src/clean/scan/scan-repositories.ts';
import {
  digestOf,
  imageOf,
  imageType,
  indexType,
  startCleanedRegistry,
  type CleanedRegistry,
} from '../../support/cleaned-registry.ts';
import { pushBlob } from '../../support/delete-history.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const repositories = ['a', 'a/b', 'c'];
const texts = Array.from({ length: 12 }, (_, i) => `layer ${i}`);
const pushes = 100;
const pushers = 4;

/** Numbers that are the same in each run of the test. */
function createRandom(seed: number) {
  let state = seed;
  return (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** One who pushes, moves and deletes tags of its own. `kept`: what was acknowledged last, by `REPOSITORY:TAG`. */
async function push(registry: CleanedRegistry, id: number, kept: Map<string, string>): Promise<number> {
  const { client } = registry;
  const random = createRandom(id * 7919 + 1);
  const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value;
  let refused = 0;
  const provide = async (repository: string, text: string) => {
    const digest = digestOf(text);
    if ((await client.ask('HEAD', `/v2/${repository}/blobs/${digest}`)).status === 200) return;
    if (random(3) === 0) {
      const from = `mount=${encodeURIComponent(digest)}&from=${pick(repositories)}`;
      if ((await client.ask('POST', `/v2/${repository}/blobs/uploads/?${from}`)).status === 201) return;
    }
    await pushBlob(client, repository, text);
  };
  const put = async (repository: string, reference: string, body: string, type: string, layers: string[]) => {
    for (let tries = 0; tries < 20; tries += 1) {
      for (const text of layers) await provide(repository, text);
      const headers = { 'Content-Type': type };
      const { status } = await client.ask('PUT', `/v2/${repository}/manifests/${reference}`, {
        headers,
        body,
      });
      if (status === 201) return true;
      assert.equal(status, 400, 'a layer that went meanwhile has to be sent again');
      refused += 1;
    }
    return false;
  };
  for (let round = 0; round < pushes; round += 1) {
    const repository = pick(repositories);
    const isKept = random(2) === 0;
    const tag = isKept ? `keep-${id}-${random(4)}` : `tmp-${id}-${round}`;
    const layers = [`config ${id} ${random(6)}`, pick(texts), pick(texts)];
    const body = imageOf(layers);
    const name = `${repository}:${tag}`;
    if (random(6) === 0) {
      const child = digestOf(body);
      const index = JSON.stringify({
        ...{ schemaVersion: 2, mediaType: indexType },
        manifests: [{ mediaType: imageType, size: Buffer.byteLength(body), digest: child }],
      });
      if (!(await put(repository, child, body, imageType, layers))) continue;
      const { status } = await client.ask('PUT', `/v2/${repository}/manifests/${tag}`, {
        headers: { 'Content-Type': indexType },
        body: index,
      });
      if (status === 201 && isKept) kept.set(name, digestOf(index));
      continue;
    }
    if (!(await put(repository, tag, body, imageType, layers))) continue;
    if (isKept) kept.set(name, digestOf(body));
    if (random(5) === 0) assert.equal(await registry.pull(repository, tag).then(() => null), null);
  }
  return refused;
}

for (const remembersBlobs of [false, true])
  describe(
    `pushes while runs go on, docker-registry ${remembersBlobs ? 'remembers' : 'does not remember'} blobs`,
    { skip: unlessInstalled('docker-registry'), timeout: 590_000 },
    () => {
      test('nothing acknowledged is lost, and what is free is freed', async (context) => {
        const registry = await startCleanedRegistry({ remembersBlobs });
        try {
          const kept = new Map<string, string>();
          const rules = [
            { repositories: ['**'], tags: ['tmp-*'], keep: { newest: 1 } },
            { repositories: ['**'], tags: ['*'], keep: 'forever' as const },
          ];
          const clean = { rules, grace: 0, untagged: 0, pace: 100, quarantine: 0 };
          const over = new AbortController();
          const total = { runs: 0, tags: 0, manifests: 0, layers: 0, blobs: 0 };
          let longestHoldMs = 0;
          const run = async () => {
            const summary = await registry.run({ clean });
            total.runs += 1;
            longestHoldMs = Math.max(longestHoldMs, summary.longestHoldMs);
            const { tags, manifests, layers, blobs } = summary.taken;
            total.tags += tags;
            total.manifests += manifests;
            total.layers += layers;
            total.blobs += blobs;
            return summary;
          };
          const running = (async () => {
            while (!over.signal.aborted) await run();
          })();
          running.catch(() => {});
          const refused = await Promise.all(
            Array.from({ length: pushers }, (_, id) => push(registry, id, kept)),
          );
          over.abort();
          await running;
          for (let last = await run(); last.run !== null && last.leftCount > 0; last = await run());
          await run();
          context.diagnostic(JSON.stringify({ ...total, longestHoldMs, refused, kept: kept.size }));
          assert.ok(total.manifests > 20 && total.blobs > 20, 'runs took something meanwhile');
          for (const [name, digest] of kept) {
            const [repository = '', tag = ''] = name.split(':');
            assert.equal(await registry.pull(repository, tag), null, name);
            const { header } = await registry.client.ask('HEAD', `/v2/${repository}/manifests/${tag}`, {
              headers: { Accept: `${imageType}, ${indexType}` },
            });
            assert.equal(header('Docker-Content-Digest'), digest, name);
          }
          assert.deepEqual(registry.listData(), await listReachable(registry));
        } finally {
          await registry.stop();
        }
      });
    },
  );

/** The digests of all that tags lead to. */
async function listReachable({ root }: CleanedRegistry): Promise<string[]> {
  const found = new Set<string>();
  const visit = (digest: string) => {
    if (found.has(digest)) return;
    found.add(digest);
    const text = readFileSync(path.join(root, dataPath(digest), 'data'), 'utf8');
    if (!text.startsWith('{')) return;
    for (const [named] of text.matchAll(/sha256:[0-9a-f]{64}/g)) visit(named);
  };
  for await (const scan of scanRepositories(root)) for (const { digest } of scan.tags) visit(digest ?? '');
  return [...found].sort();
}
