import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startCleanedPlace, type CleanedPlace } from '../support/cleaned-place.ts';
import { digestOf, imageOf, imageType } from '../support/cleaned-registry.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

/** In a row: each test goes on where the one before has left the registry. */
describe(
  'the commands of the clean-up, before a registry',
  { timeout: 360_000, skip: unlessInstalled('docker-registry') },
  () => {
    let registry: Registry;
    let place: CleanedPlace;
    before(async () => {
      registry = await startRegistry();
      // The storage is there once something was pushed.
      const upload = () => fetch(`${registry.url}/v2/ci/app/blobs/uploads/`, { method: 'POST' });
      await until('the registry has a folder', async () => (await upload()).status === 202);
      place = await startCleanedPlace(registry, {
        clean: {
          ...{ grace: '0', untagged: '0' },
          rules: [{ repositories: ['ci/**'], tags: ['*'], keep: { newest: 1 } }],
        },
        immutableTags: ['ci/**:v*'],
      });
    });
    after(() => place.stop());

    const command = (...args: string[]) => place.command(...args);
    const done = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(...args);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const push = async (repository: string, text: string, ...tags: string[]) => {
      const begun = await place.client.ask('POST', `/v2/${repository}/blobs/uploads/`);
      const { pathname, search } = new URL(begun.header('location'));
      const blob = await place.client.ask('PUT', `${pathname}${search}&digest=${digestOf(text)}`, {
        headers: { 'Content-Type': 'application/octet-stream' },
        body: text,
      });
      assert.equal(blob.status, 201);
      for (const tag of tags) {
        const { status } = await place.client.ask('PUT', `/v2/${repository}/manifests/${tag}`, {
          headers: { 'Content-Type': imageType },
          body: imageOf([text]),
        });
        assert.equal(status, 201);
      }
    };
    const listTags = async (repository: string) => {
      const { body } = await place.client.ask('GET', `/v2/${repository}/tags/list`);
      return (JSON.parse(body.toString()) as { tags: string[] | null }).tags?.toSorted() ?? [];
    };
    const hasData = (text: string) => {
      const hex = digestOf(text).slice('sha256:'.length);
      const data = `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
      return existsSync(path.join(registry.storageDir, data));
    };

    it('plan says what would go, with an exit code for scripts, and changes nothing', async () => {
      assert.equal((await command('clean', 'plan', '--check')).code, 0);
      await push('ci/app', 'first', 'one', 'twin');
      await push('ci/app', 'second', 'two');
      await push('team/app', 'third', 'stays');
      const { code, stdout } = await command('clean', 'plan', '--check');
      assert.equal(code, 3);
      assert.match(stdout, /ci\/app: 2 tags, 1 manifest/);
      const plan = JSON.parse(await done('clean', 'plan', '--json')) as {
        goes: boolean;
        totals: { tags: { goes: number; stays: number } };
      };
      assert.equal(plan.goes, true);
      assert.deepEqual(plan.totals.tags, { goes: 2, stays: 2 });
      assert.deepEqual(await listTags('ci/app'), ['one', 'twin', 'two']);
    });

    it('run does it, status tells of it, and undo brings it back', async () => {
      const ran = await done('clean', 'run', '--yes');
      const run = /tidegate clean undo (\S+) brings this back/.exec(ran)?.[1] ?? assert.fail(ran);
      assert.match(ran, /^Took into quarantine: 2 tags, 1 manifest, /);
      assert.deepEqual(await listTags('ci/app'), ['two']);
      assert.deepEqual(await listTags('team/app'), ['stays']);
      assert.deepEqual([hasData('first'), hasData('second')], [false, true]);
      const status = await done('clean', 'status');
      assert.match(status, /^Last run: done, .*took 2 tags, 1 manifest/m);
      assert.match(status, new RegExp(`^${run}  in quarantine`, 'm'));
      const { lastRun, doors } = JSON.parse(await done('clean', 'status', '--json')) as {
        lastRun: { result: string; tags: number };
        doors: { pid: number }[];
      };
      assert.deepEqual([lastRun.result, lastRun.tags], ['done', 2]);
      assert.deepEqual(
        doors.map(({ pid }) => pid),
        [place.door.pid],
      );
      assert.match(await done('clean', 'undo'), new RegExp(`^Brought back from ${run}: 2 tags, 1 manifest`));
      assert.deepEqual(await listTags('ci/app'), ['one', 'twin', 'two']);
      assert.ok(hasData('first'));
    });

    it('plan leaves what undo brought back, and says until when', async () => {
      const { code, stdout } = await command('clean', 'plan', '--check', '--all');
      assert.equal(code, 0);
      assert.match(stdout, /^ {2}stays: restored by undo, kept until 20\d\d-\d\d-\d\d \d\d:\d\dZ$/m);
      assert.match(stdout, /^ {2}restored by undo, kept until 20.*Z: 2 tags$/m);
      assert.match(await done('clean', 'run', '--yes'), /^There was nothing to take\./);
    });

    it('tag remove takes that tag and no twin, can be undone, and leaves immutable tags alone', async () => {
      const removed = await done('tag', 'remove', 'team/app:stays');
      const run = /^Removed team\/app:stays\. tidegate clean undo (\S+) brings it back/.exec(removed)?.[1];
      assert.ok(run);
      await push('team/app', 'third', 'twin');
      assert.deepEqual(await listTags('team/app'), ['twin']);
      assert.match(await done('clean', 'undo', run), /1 tag,/);
      assert.deepEqual(await listTags('team/app'), ['stays', 'twin']);
      const missing = await command('tag', 'remove', 'team/app:none');
      assert.deepEqual([missing.code, missing.stderr], [1, 'There is no tag team/app:none.\n']);
      const immutable = await command('tag', 'remove', 'ci/app:v1');
      assert.match(immutable.stderr, /^ci\/app:v1 is an immutable tag/);
    });

    it('purge deletes for good, and what was brought back is safe', async () => {
      await done('tag', 'remove', 'team/app:twin');
      assert.match(await done('clean', 'purge', '--yes'), /^Deleted for good: /);
      const { code, stderr } = await command('clean', 'undo');
      assert.equal(code, 1, stderr);
      assert.deepEqual(await listTags('ci/app'), ['one', 'twin', 'two']);
    });

    it('each thing that is taken has a line in the log', () => {
      const taken = place.cleaner.log.filter(({ msg }) => msg === 'taken');
      assert.ok(taken.length >= 2, JSON.stringify(place.cleaner.log));
    });
  },
);
