import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Doors } from '../../../src/clean/channel/doors.ts';
import { dataPath, layerPath, revisionPath, tagPath } from '../../../src/clean/quarantine/item.ts';
import {
  digestOf,
  imageOf,
  imageType,
  indexType,
  startCleanedRegistry,
  type CleanedRegistry,
} from '../../support/cleaned-registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** Does something right before the first lock of a key. */
function beforeLock(doors: Doors, key: string, act: () => Promise<unknown>): Doors {
  let isDone = false;
  return {
    ...doors,
    lock: async (keys, waitMs) => {
      if (keys.includes(key) && !isDone) {
        isDone = true;
        await act();
      }
      return doors.lock(keys, waitMs);
    },
  };
}

describe(
  'a run in a repository that others write to',
  { skip: unlessInstalled('docker-registry'), timeout: 480_000 },
  () => {
    let registry: CleanedRegistry;
    before(async () => (registry = await startCleanedRegistry({ remembersBlobs: true })));
    after(() => registry.stop());
    const put = async (repository: string, tag: string, body: string, type = imageType) => {
      const headers = { 'Content-Type': type };
      const target = `/v2/${repository}/manifests/${tag}`;
      assert.equal((await registry.client.ask('PUT', target, { headers, body })).status, 201);
    };
    const remove = async (repository: string, digest: string) =>
      assert.equal(
        (await registry.client.ask('DELETE', `/v2/${repository}/manifests/${digest}`)).status,
        202,
      );

    test('keeps a manifest that an index names meanwhile', async () => {
      const old = await registry.push('index', 'v1', ['config i1', 'layer i1']);
      await registry.push('index', 'v1', ['config i2', 'layer i2']);
      const index = JSON.stringify({
        schemaVersion: 2,
        mediaType: indexType,
        manifests: [{ mediaType: imageType, size: old.body.length, digest: old.digest }],
      });
      const { doors } = registry.cleaner;
      const act = () => put('index', 'multi', index, indexType);
      await registry.run({ doors: beforeLock(doors, 'index', act), newest: 9 });
      assert.equal(await registry.pull('index', 'multi'), null);
    });

    test('keeps a layer that a push names meanwhile without asking for it', async () => {
      const gone = await registry.push('layer', 'v1', ['config y1', 'layer y1']);
      await registry.push('layer', 'v2', ['config y2', 'layer y2']);
      await remove('layer', gone.digest);
      const { doors } = registry.cleaner;
      const act = () => put('layer', 'v3', imageOf(['config y2', 'layer y1']));
      await registry.run({ doors: beforeLock(doors, 'layer', act), newest: 9 });
      assert.equal(await registry.pull('layer', 'v3'), null);
    });

    test('takes what goes while pushes follow one another', async () => {
      const [stored, goes] = [600, 20];
      store(registry.root, 'busy', stored);
      const ended = new AbortController();
      const pushing = pushUntil(registry, 'busy', ended.signal);
      const keep = (tags: string, how: 'forever' | { newest: number }) => ({
        ...{ repositories: ['busy'], tags: [tags], keep: how },
      });
      const summary = await registry
        .run({
          clean: {
            rules: [keep('t*', { newest: stored - goes }), keep('*', 'forever')],
            ...{ grace: 0, untagged: 0, pace: 100, quarantine: 3_600_000 },
          },
        })
        .finally(() => ended.abort());
      const pushed = await pushing;
      assert.ok(pushed.length > 0);
      const { tags, manifests } = summary.taken;
      assert.equal(tags, goes);
      assert.ok(manifests > 0);
      for (const tag of pushed.slice(-5)) assert.equal(await registry.pull('busy', tag), null);
    });
  },
);

/** Pushes to ten tags in turn. @returns the tags */
async function pushUntil(registry: CleanedRegistry, repository: string, signal: AbortSignal) {
  const pushed = new Set<string>();
  for (let count = 0; !signal.aborted; count += 1) {
    const tag = `p${count % 10}`;
    // A run may take a blob before its manifest comes.
    const isPushed = await registry.push(repository, tag, ['config of all', `layer ${count}`]).then(
      () => true,
      () => false,
    );
    if (isPushed) pushed.add(tag);
  }
  return [...pushed];
}

/** Writes images as the registry stores them, each with a tag, the oldest first. */
function store(root: string, repository: string, images: number): void {
  const write = (file: string, content: string) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), content);
  };
  const startS = Date.now() / 1000 - 86_400;
  for (let number = 0; number < images; number += 1) {
    const texts = ['config stored', `layer stored ${number}`];
    const body = imageOf(texts);
    const digest = digestOf(body);
    for (const text of [...texts, body]) write(`${dataPath(digestOf(text))}/data`, text);
    for (const text of texts) write(layerPath(repository, digestOf(text)), digestOf(text));
    write(revisionPath(repository, digest), digest);
    const tag = tagPath(repository, `t${number}`);
    const hex = createHash('sha256').update(body).digest('hex');
    write(`${tag}/index/sha256/${hex}/link`, digest);
    write(`${tag}/current/link`, digest);
    utimesSync(path.join(root, tag, 'current/link'), startS + number, startS + number);
  }
}
