import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { openSqlite } from '../../src/system/sqlite.ts';
import { createCacheClient } from '../support/cache-client.ts';
import { startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { untilListed } from '../support/inventory.ts';
import { pushImage, pushIndex } from '../support/pushed-images.ts';
import { startRegistry } from '../support/registry.ts';
import { startUpstream } from '../support/scripted-upstream.ts';
import { answerManifests, ask, untilRecorded } from '../support/usage.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const now = 'state.inventoryDelay=0';

async function makeStateDir(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-state-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function start(t: TestContext, url: string, ...set: string[]): Promise<FrontDoor> {
  const door = await startFrontDoor({ upstreamUrl: url, set });
  t.after(() => door.stop());
  return door;
}

/** Pushes a manifest that the registry has under another tag, through Tidegate. */
async function retag(door: FrontDoor, repository: string, digest: string, tag: string): Promise<void> {
  const client = createCacheClient(door);
  const headers = { Accept: manifestType, 'Content-Type': manifestType };
  const { body } = await client.ask('GET', `/v2/${repository}/manifests/${digest}`, { headers });
  const { status } = await client.ask('PUT', `/v2/${repository}/manifests/${tag}`, { headers, body });
  client.close();
  assert.equal(status, 201);
}

async function remove(door: FrontDoor, repository: string, reference: string): Promise<void> {
  const client = createCacheClient(door);
  const { status } = await client.ask('DELETE', `/v2/${repository}/manifests/${reference}`);
  client.close();
  assert.equal(status, 202, reference);
}

describe('the lists of repositories and tags', { timeout: 550_000, concurrency: 3 }, () => {
  for (const workers of [1, 2])
    test(`${workers} worker(s): what was there, what is pushed, moved and deleted, a kill, and a start`, async (t) => {
      const registry = await startRegistry();
      t.after(() => registry.stop());
      const stateDir = await makeStateDir(t);
      const set = [`workers=${workers}`, `state.dir=${stateDir}`, now];
      const one = await pushImage(registry.url, 'team/app', '1.0');
      const two = await pushImage(registry.url, 'team/app', '2.0');
      const index = await pushIndex(registry.url, 'team/app', 'all', [one, two]);
      await pushImage(registry.url, 'other', 'v1');

      const first = await start(t, registry.url, ...set);
      await untilListed(stateDir, 'what was there before is listed', ({ repositories, tags }) => {
        const found = new Map(tags('team/app').map((tag) => [tag.tag, tag]));
        return (
          repositories.isComplete &&
          repositories.rows.map(({ name, tags: count }) => `${name} ${count}`).join() ===
            'other 1,team/app 3' &&
          found.get('1.0')?.bytes === one.totalBytes &&
          found.get('1.0')?.kind === 'image' &&
          found.get('all')?.bytes === one.totalBytes + two.totalBytes + index.bytes &&
          found.get('all')?.kind === 'index'
        );
      });

      await retag(first, 'team/app', one.digest, 'latest');
      await untilListed(stateDir, 'a push is listed', ({ tags }) => {
        const latest = tags('team/app').find(({ tag }) => tag === 'latest');
        return latest?.pushedBy === user && latest.bytes === one.totalBytes && latest.twins.join() === '1.0';
      });
      await retag(first, 'team/app', two.digest, 'latest');
      await untilListed(stateDir, 'a tag that moved is listed where it leads', ({ tags }) => {
        const latest = tags('team/app').find(({ tag }) => tag === 'latest');
        return (
          latest?.digest === two.digest && latest.bytes === two.totalBytes && latest.twins.join() === '2.0'
        );
      });
      await remove(first, 'team/app', 'latest');
      await untilListed(
        stateDir,
        'a deleted tag is gone, and no twin',
        ({ tags }) =>
          tags('team/app')
            .map(({ tag }) => tag)
            .join() === '1.0,2.0,all',
      );
      await remove(first, 'team/app', two.digest);
      await untilListed(
        stateDir,
        'the tags of a deleted digest are gone',
        ({ tags }) =>
          tags('team/app')
            .map(({ tag }) => tag)
            .join() === '1.0,all',
      );

      await retag(first, 'team/app', one.digest, 'kept');
      await untilListed(stateDir, 'a push before the kill is listed', ({ tags }) =>
        tags('team/app').some(({ tag, bytes }) => tag === 'kept' && bytes !== null),
      );
      first.process.kill('SIGKILL');
      await once(first.process, 'exit');
      const three = await pushImage(registry.url, 'team/new', 'around');
      const moved = await pushImage(registry.url, 'team/app', 'kept');
      await start(t, registry.url, ...set);
      await untilListed(stateDir, 'after the kill what was missed is found', ({ tags }) => {
        const kept = tags('team/app').find(({ tag }) => tag === 'kept');
        return (
          kept?.pushedBy === user &&
          kept.digest === moved.digest &&
          tags('team/new')
            .map(({ tag, bytes }) => `${tag} ${bytes}`)
            .join() === `around ${three.totalBytes}`
        );
      });
    });

  test('several registries under one name, a mirror among them, by outer names', async (t) => {
    const [own, route, mirror] = await Promise.all([startRegistry(), startRegistry(), startRegistry()]);
    t.after(() => Promise.all([own.stop(), route.stop(), mirror.stop()]));
    const stateDir = await makeStateDir(t);
    await pushImage(own.url, 'team/app', 'v1');
    await pushImage(own.url, 'lab/hidden', 'v1');
    const inLab = await pushImage(route.url, 'tool', 'v2');
    const held = await pushImage(mirror.url, 'library/nginx', 'latest');
    const routes = [
      { name: 'lab', repositories: ['lab/**'], stripPrefix: 'lab', upstream: { url: route.url } },
      {
        name: 'hub',
        repositories: ['hub/**'],
        stripPrefix: 'hub',
        readOnly: true,
        upstream: { url: mirror.url },
      },
    ];
    const door = await start(t, own.url, `state.dir=${stateDir}`, now, `routes=${JSON.stringify(routes)}`);
    await untilListed(stateDir, 'all are listed', ({ repositories, tags }) => {
      const names = repositories.rows.map(({ name }) => name).join();
      return (
        repositories.isComplete &&
        names === 'hub/library/nginx,lab/tool,team/app' &&
        tags('lab/tool')[0]?.bytes === inLab.totalBytes &&
        tags('hub/library/nginx').length === 0
      );
    });
    // A mirror lists the tags of what it mirrors: those that were pulled are known.
    assert.equal(
      await ask(
        door,
        'GET /v2/hub/library/nginx/manifests/latest',
        [user, 'open: sesame'],
        `Accept: ${manifestType}`,
      ),
      200,
    );
    await untilListed(stateDir, 'what was pulled through the mirror is listed', ({ tags }) => {
      const [tag] = tags('hub/library/nginx');
      return tag?.tag === 'latest' && tag.bytes === held.totalBytes && tag.pulledMs !== null;
    });
  });

  test('turned off with the console or the record: no tables, and the registry is not asked', async (t) => {
    const upstream = await startUpstream({ script: answerManifests });
    t.after(() => upstream.close());
    const stateDir = await makeStateDir(t);
    const door = await start(t, upstream.url, `state.dir=${stateDir}`, now, 'console.enabled=false');
    assert.equal(await ask(door, 'GET /v2/a/manifests/v1', [user, 'open: sesame']), 200);
    await untilRecorded(stateDir, 1);
    await door.stop();
    const database = openSqlite(path.join(stateDir, 'usage/usage.db'), { breaksLock: true });
    assert.deepEqual(database.get('PRAGMA user_version'), { user_version: 1 });
    database.close();
    const without = await start(t, upstream.url, `state.dir=${stateDir}`, now, 'state.usage=false');
    assert.equal(await ask(without, 'GET /v2/a/manifests/v2', [user, 'open: sesame']), 200);
    await without.stop();
    assert.deepEqual(
      upstream.requests.map(({ startLine }) => startLine),
      ['GET /v2/a/manifests/v1 HTTP/1.1', 'GET /v2/a/manifests/v2 HTTP/1.1'],
    );
  });

  test('a damaged file is set aside, and what there is read anew', async (t) => {
    const registry = await startRegistry();
    t.after(() => registry.stop());
    const stateDir = await makeStateDir(t);
    const image = await pushImage(registry.url, 'team/app', 'v1');
    const set = [`state.dir=${stateDir}`, now];
    const isListed = () =>
      untilListed(
        stateDir,
        'the registry was read',
        ({ tags }) => tags('team/app')[0]?.bytes === image.totalBytes,
      );
    const first = await start(t, registry.url, ...set);
    await isListed();
    await first.stop();
    await writeFile(path.join(stateDir, 'usage/usage.db'), Buffer.alloc(8192, 'x'));
    const second = await start(t, registry.url, ...set);
    await second.logged(({ msg }) => msg.includes('it was set aside'));
    await isListed();
  });
});
