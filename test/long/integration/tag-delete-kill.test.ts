import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { createDirectClient } from '../../support/delete-history.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { imageType, makeImage, pushConfig, pushManifest } from '../../support/manifest-registry.ts';
import { freePort, until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startSteppedRegistry, type Step, type SteppedRegistry } from '../../support/stepped-registry.ts';
import { workerPids } from '../../support/workers.ts';

const accepting = { headers: { Accept: imageType } };
const image = makeImage('kept');

/** The requests that remove a tag, in their order, and the first after which it is gone. */
const steps = ['DELETE tag', 'HEAD tag', 'DELETE digest', 'PUT tag', 'DELETE digest'];
const decisive = 3;

describe(
  'the removal of a tag that is interrupted between any two steps leaves it untouched, or ends it',
  { skip: unlessInstalled('docker-registry'), timeout: 550_000, concurrency: 4 },
  () => {
    let registry: Registry;
    let direct: CacheClient;
    let repositories = 0;
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
      direct = createDirectClient(registry.url);
    });
    after(async () => {
      direct.close();
      await registry.stop();
    });

    /** A repository with a tag and its twin, and Tidegates before it that share a folder for their state. */
    const open = async (t: TestContext, set: readonly string[] = []) => {
      const stateDir = await mkdtemp(path.join(tmpdir(), 'tidegate-state-'));
      const removals = path.join(stateDir, 'removals');
      const stepped = await startSteppedRegistry(registry.url);
      const repository = `team/r${++repositories}`;
      const pathOf = (reference: string) => `/v2/${repository}/manifests/${reference}`;
      await pushConfig(direct, repository);
      for (const tag of ['gone', 'twin'])
        assert.equal((await pushManifest(direct, pathOf(tag), image)).status, 201);
      const doors: FrontDoor[] = [];
      t.after(async () => {
        for (const door of doors) await door.stop();
        await stepped.close();
        await rm(stateDir, { recursive: true, force: true });
      });
      const start = async () => {
        const door = await startFrontDoor({
          upstreamUrl: stepped.url,
          set: [`state.dir=${stateDir}`, 'log.audit=false', ...set],
        });
        doors.push(door);
        return door;
      };
      /** Asks for the delete, which may break off. */
      const remove = async (door: FrontDoor) => {
        const client = createCacheClient(door);
        const status = await client.ask('DELETE', pathOf('gone')).then(
          (answer) => answer.status,
          () => null,
        );
        client.close();
        return status;
      };
      /** Dates what is noted. */
      const dateNotes = async (date: Date) => {
        for (const name of await readdir(removals)) await utimes(path.join(removals, name), date, date);
      };
      /** That the tag is as it was, or gone, as expected; with what the front door and the registry say of it. */
      const assertEnded = async (door: FrontDoor, isGone: boolean) => {
        const client = createCacheClient(door);
        t.after(() => client.close());
        const expected = isGone ? [404] : [200, image.body];
        const read = async (asking: CacheClient, reference: string) => {
          const { status, body } = await asking.ask('GET', pathOf(reference), accepting);
          return status === 200 ? [status, body.toString()] : [status];
        };
        // At once, whatever the registry has.
        assert.deepEqual(await read(client, 'gone'), expected);
        assert.deepEqual(await read(client, 'twin'), [200, image.body]);
        await until('nothing is noted', async () => {
          const noted = await readdir(removals).catch(() => []);
          return noted.length === 0;
        });
        for (const asking of [client, direct]) {
          assert.deepEqual(await read(asking, 'gone'), expected);
          for (const reference of ['twin', image.digest])
            assert.deepEqual(await read(asking, reference), [200, image.body]);
        }
        const { body } = await direct.ask('GET', `/v2/${repository}/tags/list`);
        const { tags } = JSON.parse(body.toString()) as { tags: string[] };
        assert.deepEqual([...tags].sort(), isGone ? ['twin'] : ['gone', 'twin']);
      };
      return { repository, stepped, start, remove, dateNotes, assertEnded };
    };

    /** Calls back at a step of the removal, once. */
    const atStep = (
      stepped: SteppedRegistry,
      wanted: number,
      at: Step['at'],
      act: () => Promise<void> | void,
    ) => {
      let step = -1;
      let isOver = false;
      stepped.onStep = async (each) => {
        if (isOver) return;
        if (each.at === 'request') step += 1;
        if (step !== wanted || each.at !== at) return;
        isOver = true;
        await act();
      };
    };

    for (const [i, name] of steps.entries())
      for (const at of ['request', 'answer'] as const) {
        const isGone = i > decisive || (i === decisive && at === 'answer');
        const when = `${at === 'request' ? 'before' : 'after'} ${i + 1}: ${name}`;

        test(`kill -9 of the program ${when}`, async (t) => {
          const { stepped, start, remove, assertEnded } = await open(t);
          const door = await start();
          atStep(stepped, i, at, () => {
            process.kill(door.pid, 'SIGKILL');
            throw new Error('cut off');
          });
          assert.equal(await remove(door), null);
          await assertEnded(await start(), isGone);
        });

        test(`the registry goes away ${when}`, async (t) => {
          const { stepped, start, remove, assertEnded } = await open(t);
          const door = await start();
          let isAway = false;
          atStep(stepped, i, at, () => {
            isAway = true;
            const cut = () => {
              throw new Error('cut off');
            };
            stepped.onStep = cut;
            cut();
          });
          assert.equal(await remove(door), 502);
          assert.ok(isAway);
          // It starts, though it cannot finish it yet.
          const again = await start();
          stepped.onStep = () => {};
          await assertEnded(again, isGone);
        });
      }

    test('kill -9 of the workers, whose successors finish it', async (t) => {
      const { stepped, start, remove, assertEnded } = await open(t, [
        'workers=2',
        `listen.port=${await freePort()}`,
      ]);
      const door = await start();
      const pids = await workerPids(door);
      atStep(stepped, decisive, 'answer', () => {
        for (const pid of pids) process.kill(pid, 'SIGKILL');
        throw new Error('cut off');
      });
      assert.equal(await remove(door), null);
      const client = createCacheClient(door);
      t.after(() => client.close());
      await until('there are new workers', () =>
        client.ask('GET', '/v2/').then(
          ({ status }) => status === 200,
          () => false,
        ),
      );
      await assertEnded(door, true);
    });

    test('what the program sent last reaches the registry when the next one serves already', async (t) => {
      const { repository, stepped, start, remove, dateNotes, assertEnded } = await open(t);
      const door = await start();
      let release = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      atStep(stepped, decisive, 'request', () => {
        process.kill(door.pid, 'SIGKILL');
        return released;
      });
      assert.equal(await remove(door), null);
      // However long the start takes here, to the next program the request is one that was just sent.
      await dateNotes(new Date(Date.now() + 600_000));
      const again = await start();
      release();
      await until('the registry has moved the tag', async () => {
        const { status } = await direct.ask('GET', `/v2/${repository}/manifests/gone`, accepting);
        return status !== 200;
      });
      await dateNotes(new Date());
      await assertEnded(again, true);
    });
  },
);
