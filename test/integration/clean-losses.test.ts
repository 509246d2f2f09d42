import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mayBeTombstone, tombstoneType, writeTombstone } from '../../src/registry/tombstone.ts';
import { beforeLock, tellOther } from '../support/altered-doors.ts';
import {
  ageStorage,
  digestOf,
  imageType,
  indexType,
  startCleanedRegistry,
  type CleanedRegistry,
} from '../support/cleaned-registry.ts';
import type { FrontDoor } from '../support/front-door.ts';
import { until } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hourMs = 3_600_000;

/** The manifest to which a front door moves a tag before it deletes it. */
function findTombstone(): string {
  for (let tries = 0; ; tries += 1) {
    const body = writeTombstone(tries.toString(16).padStart(40, '0'));
    if (mayBeTombstone(digestOf(body))) return body;
  }
}

describe('a run', { skip: unlessInstalled('docker-registry'), timeout: 480_000 }, () => {
  let registry: CleanedRegistry;
  before(async () => (registry = await startCleanedRegistry({ remembersBlobs: true })));
  after(() => registry.stop());
  const rulesOf = (keep: object) => ({
    rules: [{ repositories: ['**'], tags: ['*'], keep }],
    ...{ grace: 0, untagged: 0, pace: 100, quarantine: 24 * hourMs },
  });

  test('ends when a front door comes that shares no Redis with the first: no lock holds its pushes', async () => {
    await registry.push('second', 'v1', ['config s1', 'layer s1']);
    await registry.push('second', 'v2', ['config s2', 'layer s2']);
    const { cleaner } = registry;
    const others: FrontDoor[] = [];
    const doors = beforeLock(cleaner.doors, 'second', async () => {
      others.push(await cleaner.startDoor(registry.registry.url));
      await cleaner.untilConnected(2);
    });
    try {
      await assert.rejects(registry.run({ doors }), /shares no Redis/);
    } finally {
      for (const other of others) await other.stop();
    }
    assert.equal(await registry.pull('second', 'v1'), null);
  });

  test('keeps a tag that became the newest when a newer one was deleted between plan and lock', async () => {
    await registry.push('newest', 'v1', ['config n1', 'layer n1']);
    const newer = await registry.push('newest', 'v2', ['config n2', 'layer n2']);
    const doors = beforeLock(registry.cleaner.doors, 'newest', async () => {
      const path = `/v2/newest/manifests/${newer.digest}`;
      assert.equal((await registry.client.ask('DELETE', path)).status, 202);
    });
    await registry.run({ doors });
    assert.equal(await registry.pull('newest', 'v1'), null);
  });

  test('keeps a manifest that lost its tag between plan and lock for clean.untagged', async () => {
    const old = await registry.push('moved', 'v1', ['config m1', 'layer m1']);
    const other = await registry.push('moved', 'v2', ['config m2', 'layer m2']);
    const doors = beforeLock(registry.cleaner.doors, 'moved', () =>
      registry.retag('moved', 'v1', other.body),
    );
    // By then all of it is old enough.
    const nowMs = () => Date.now() + 2 * hourMs;
    const { taken } = await registry.run({
      ...{ doors, nowMs },
      clean: { ...rulesOf({ newest: 1 }), untagged: hourMs },
    });
    assert.equal(taken.manifests, 0);
    assert.equal(await registry.pull('moved', old.digest), null);
  });

  test('keeps a tag that was pulled between plan and lock, if a rule counts pulls', async () => {
    await registry.push('pulled', 'v1', ['config p1', 'layer p1']);
    await until('pulls are recorded for long enough', async () => {
      for await (const { since } of registry.cleaner.doors.usage({ ask: 'repositories' }))
        return since + 1000 < Date.now();
      return false;
    });
    const doors = beforeLock(registry.cleaner.doors, 'pulled', () => registry.pull('pulled', 'v1'));
    await registry.run({ doors, clean: rulesOf({ pulledWithin: 1000 }) });
    assert.equal(await registry.pull('pulled', 'v1'), null);
  });

  test('counts no tag that is being deleted among the newest', async () => {
    await registry.push('stone', 'v1', ['config t1', 'layer t1']);
    const { status } = await registry.client.ask('PUT', '/v2/stone/manifests/v2', {
      headers: { 'Content-Type': tombstoneType },
      body: findTombstone(),
    });
    assert.equal(status, 201);
    await registry.run();
    assert.equal(await registry.pull('stone', 'v1'), null);
  });

  test('is told of an answer that what a client has is still there', async () => {
    const body = JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [] });
    const [digest, target] = [digestOf(body), '/v2/unchanged/manifests/v1'];
    const pushed = await fetch(new URL(target, registry.registry.url), {
      ...{ method: 'PUT', body, headers: { 'Content-Type': indexType } },
    });
    assert.equal(pushed.status, 201);
    const lease = async () => (await registry.cleaner.doors.evidence({ digests: [digest] })).leases[0];
    assert.equal(await lease(), 0);
    const headers = { Accept: indexType, 'If-None-Match': `"${digest}"` };
    assert.equal((await registry.client.ask('GET', target, { headers })).status, 304);
    assert.notEqual(await lease(), 0);
  });

  test('is undone without a tag whose layers a later run took, until that is undone', async () => {
    await registry.push('twice', 'v1', ['config w1', 'shared w']);
    await registry.push('twice', 'v2', ['config w2', 'shared w']);
    const first = (await registry.run()).run ?? '';
    await registry.push('twice', 'v3', ['config w3', 'layer w3']);
    const second = (await registry.run()).run ?? '';
    const [left] = (await registry.undo(first)).impossible;
    assert.equal(left?.item, 'twice:v1');
    assert.match(left.why, new RegExp(`taken by ${second}`));
    assert.equal(await registry.pull('twice', 'v1'), 'manifest v1: 404');
    assert.equal((await registry.undo(second)).impossibleCount, 0);
    assert.equal((await registry.undo(first)).impossibleCount, 0);
    assert.equal(await registry.pull('twice', 'v1'), null);
  });

  test('is undone without a tag whose bytes a later run took with the last link of another repository', async () => {
    await registry.push('here', 'v1', ['config h1', 'shared h']);
    await registry.push('there', 'v1', ['config h2', 'shared h']);
    await registry.push('here', 'v2', ['config h3', 'layer h3']);
    const first = (await registry.run()).run ?? '';
    await registry.push('there', 'v2', ['config h4', 'layer h4']);
    const second = (await registry.run()).run ?? '';
    const { impossible } = await registry.undo(first);
    assert.deepEqual(
      impossible.map(({ item }) => item),
      [`here@${digestOf('shared h')}`, 'here:v1'],
    );
    assert.equal(await registry.pull('here', 'v1'), 'manifest v1: 404');
    assert.equal((await registry.undo(second)).impossibleCount, 0);
    assert.equal((await registry.undo(first)).impossibleCount, 0);
    assert.equal(await registry.pull('here', 'v1'), null);
  });
});

describe(
  'a tag that a client was told of',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: CleanedRegistry;
    before(async () => {
      registry = await startCleanedRegistry({ graceMs: hourMs });
      const old = await registry.push('app', 'v1', ['config 1', 'layer 1']);
      await registry.push('app', 'v2', ['config 2', 'layer 2']);
      assert.equal(await registry.pull('app', old.digest), null);
      ageStorage(registry.root, 2 * hourMs);
    });
    after(() => registry.stop());

    for (const ask of ['HEAD', 'GET'] as const)
      test(`stays for clean.grace after ${ask}`, async () => {
        const { doors } = registry.cleaner;
        const asked = () =>
          registry.client.ask(ask, '/v2/app/manifests/v1', { headers: { Accept: imageType } });
        await registry.run({ doors: beforeLock(tellOther(doors), 'app', asked) });
        assert.equal((await asked()).status, 200);
      });
  },
);
