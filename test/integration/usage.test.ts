import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { findAdmin } from '../support/admin.ts';
import { password, user } from '../support/front-door.ts';
import { startUpstream } from '../support/scripted-upstream.ts';
import {
  answerManifests,
  ask,
  digestOf,
  openUsage,
  pullTags,
  readRepositoryUsage,
  readUsage,
  untilMetric,
  untilRecorded,
  usageCommand,
} from '../support/usage.ts';
import { workerPids } from '../support/workers.ts';

const alice = [user, password] as const;
const anonymousPulls =
  'policy=[{who: [anonymous], repositories: ["public/*"], actions: [pull]}, {who: [authenticated], repositories: ["**"], actions: [pull, push]}]';

describe('the record of usage', { timeout: 360_000, concurrency: 4 }, () => {
  for (const workers of [1, 2])
    test(`${workers} worker(s): last pull and push of each tag and digest, by whom, with counts`, async (t) => {
      const { start, stateDir } = await openUsage(t, [`workers=${workers}`, anonymousPulls]);
      const door = await start();
      const before = Date.now();
      for (const [request, login, status] of [
        ['GET /v2/team/app/manifests/1.0', alice, 200],
        ['GET /v2/team/app/manifests/1.0', alice, 200], // from the cache
        ['HEAD /v2/team/app/manifests/1.0', alice, 200],
        ['GET /v2/team/app/manifests/missing', alice, 404],
        [`GET /v2/team/app/manifests/${digestOf('by digest')}`, alice, 200],
        ['PUT /v2/team/app/manifests/2.0', alice, 201],
        ['GET /v2/team/app/tags/list', alice, 200],
        ['GET /v2/public/base/manifests/1.0', null, 200],
        ['GET /v2/team/app/manifests/1.0', null, 401],
        ['GET /v2/team/app/manifests/1.0', [user, 'wrong'], 401],
      ] as const)
        assert.equal(await ask(door, request, login), status, request);

      const usage = await untilRecorded(stateDir, 4, 1);
      assert.equal(usage.isRunning, true);
      assert.ok(Date.parse(usage.since) <= before && before <= Date.parse(usage.asOf));
      assert.deepEqual(
        usage.repositories.map(({ repository, pulls, pushes, lastPull, lastPush }) => [
          ...[repository, pulls, lastPull?.by, pushes, lastPush?.by],
        ]),
        [
          ['public/base', 1, 'anonymous', 0, undefined],
          ['team/app', 3, user, 1, user],
        ],
      );
      for (const { lastPull } of usage.repositories)
        assert.ok(
          Date.parse(lastPull?.at ?? '') >= before - 1 && Date.parse(lastPull?.at ?? '') <= Date.now(),
        );

      const app = await readRepositoryUsage(stateDir, 'team/app');
      assert.deepEqual([app.pulls, app.pushes], [3, 1]);
      assert.deepEqual(
        app.tags.map(({ tag, digest, pulls, pushes }) => [tag, digest, pulls, pushes]).sort(),
        [
          ['1.0', digestOf('1.0'), 2, 0],
          ['2.0', digestOf('2.0'), 0, 1],
        ],
      );
      assert.deepEqual(
        new Map(app.digests.map(({ digest, pulls, pushes }) => [digest, [pulls, pushes]])),
        new Map([
          [digestOf('1.0'), [2, 0]],
          [digestOf('2.0'), [0, 1]],
          [digestOf('by digest'), [1, 0]],
        ]),
      );
      const table = await usageCommand(stateDir, 'team/app');
      assert.match(table.stdout, /^As of \d{4}-\d\d-\d\d \d\d:\d\dZ\.\nComplete since .*\n/);
      assert.match(
        table.stdout,
        /^1\.0 +sha256:[0-9a-f]{12} +\d{4}-\d\d-\d\d \d\d:\d\dZ +alice +2 +- +- +0$/m,
      );
      assert.match(
        table.stdout,
        /^sha256:[0-9a-f]{12} +- +\d{4}-/m,
        'whole digests would not fit a terminal',
      );
    });

  test('survives a kill, but for the last seconds, and an orderly stop without loss', async (t) => {
    const { start, stateDir, file } = await openUsage(t, ['workers=2']);
    const first = await start();
    await pullTags(first, 'team/app', ['a', 'b', 'c'], alice);
    // Written behind: nobody asks for it.
    await untilMetric(await findAdmin(first), 'tidegate_usage_rows', (rows) => rows >= 9);
    const workers = await workerPids(first);
    first.process.kill('SIGKILL');
    await once(first.process, 'exit');
    assert.equal(workers.length, 2);
    const offline = await readUsage(stateDir);
    assert.equal(offline.isRunning, false);
    assert.equal(offline.repositories[0]?.pulls, 3);

    const second = await start();
    await pullTags(second, 'team/app', ['a'], alice);
    await second.stop(); // at once: the last uses were not written yet
    const usage = await readUsage(stateDir);
    assert.equal(usage.repositories[0]?.pulls, 4);
    assert.equal(usage.since, offline.since);
    assert.deepEqual((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual((await stat(path.dirname(file))).mode & 0o777, 0o700);
    const text = await usageCommand(stateDir);
    assert.match(text.stdout, /^As of .*, from the file: no Tidegate is running\.\nComplete since/);
    assert.deepEqual(
      await readdir(path.dirname(file)),
      ['usage.db'],
      'an orderly stop leaves the file alone',
    );
  });

  test('repositories of a route by the names that clients use', async (t) => {
    const hub = await startUpstream({ script: answerManifests });
    t.after(() => hub.close());
    const route = `{name: hub, repositories: ["hub/**"], stripPrefix: hub, upstream: {url: "${hub.url}"}}`;
    const { start, stateDir } = await openUsage(t, [`routes=[${route}]`]);
    await pullTags(await start(), 'hub/library/nginx', ['1', '1'], alice);
    const { repositories } = await untilRecorded(stateDir, 2);
    assert.deepEqual(
      repositories.map(({ repository, pulls }) => [repository, pulls]),
      [['hub/library/nginx', 2]],
    );
    const { tags } = await readRepositoryUsage(stateDir, 'hub/library/nginx');
    assert.deepEqual(
      tags.map(({ tag, digest }) => [tag, digest]),
      [['1', digestOf('1')]],
    );
  });

  test('the command: what is not there, and wrong usage', async (t) => {
    const { start, stateDir } = await openUsage(t);
    const nothing = await usageCommand(stateDir);
    assert.deepEqual([nothing.code, nothing.stdout], [1, '']);
    assert.match(nothing.stderr, /^There is no record in .*: nothing was pulled or pushed yet, or .*\n$/);
    await start();
    const empty = await usageCommand(stateDir);
    assert.equal(empty.code, 0);
    assert.match(empty.stdout, /Nothing was pulled or pushed since\.\n$/);
    const unknown = await usageCommand(stateDir, 'team/none');
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /^No pull or push of team\/none is recorded since .*\n$/);
    assert.equal((await usageCommand(stateDir, 'NOT A NAME')).code, 2);
    const off = await usageCommand(path.join(stateDir, 'none'), '--set', 'state.usage=false');
    assert.deepEqual([off.code, off.stderr], [1, 'Nothing is recorded: state.usage is false.\n']);
  });
});
