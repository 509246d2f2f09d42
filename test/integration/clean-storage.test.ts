import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { digestOf } from '../support/cleaned-registry.ts';
import { cleanCommand, startCleaner } from '../support/cleaner.ts';
import { startFrontDoor } from '../support/front-door.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import type { Finished } from '../support/processes.ts';

describe(
  'upstream.storage that is another folder than that of the registry',
  { timeout: 550_000, skip: unlessInstalled('docker-registry') },
  () => {
    let dir: string;
    let registry: Registry;
    before(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
      registry = await startRegistry();
    });
    after(async () => {
      await registry.stop();
      await rm(dir, { recursive: true });
    });

    /** Runs these, with the cleaner and Tidegate both told of this folder. */
    const clean = async (t: TestContext, storage: string, args: readonly string[]): Promise<Finished> => {
      const config = JSON.stringify({
        upstream: { storage },
        clean: { socket: path.join(dir, 'clean.sock'), grace: '0' },
      });
      await writeFile(path.join(dir, 'tidegate.yml'), config);
      const cleaner = await startCleaner(['--config', path.join(dir, 'tidegate.yml')], dir);
      t.after(() => cleaner.stop());
      const door = await startFrontDoor({ upstreamUrl: registry.url, config });
      t.after(() => door.stop());
      return cleanCommand([...args, '--config', path.join(dir, 'tidegate.yml')], dir);
    };
    const folder = async (name: string): Promise<string> => {
      await mkdir(path.join(dir, name), { recursive: true });
      return path.join(dir, name);
    };

    test('a registry to which nothing was pushed has nothing to take', async (t) => {
      const { code, stdout, stderr } = await clean(t, await folder('new'), ['clean', 'run', '--yes']);
      assert.deepEqual(
        [code, stdout],
        [0, 'There was nothing to take: nothing has been pushed yet.\n'],
        stderr,
      );
    });

    test('an empty folder is refused when the registry has images elsewhere', async (t) => {
      const begun = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
      const place = new URL(begun.headers.get('location') ?? '', registry.url);
      place.searchParams.set('digest', digestOf('pushed'));
      assert.equal((await fetch(place, { method: 'PUT', body: 'pushed' })).status, 201);
      const { code, stderr } = await clean(t, await folder('empty'), ['clean', 'run', '--yes']);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^There is no docker\/registry\/v2\/repositories in \S+empty \(upstream\.storage\), and the registry at upstream\.url is not empty: /,
      );
    });

    test("another registry's folder is refused, since what is pushed does not come there", async (t) => {
      const other = await folder('other');
      await mkdir(path.join(other, 'docker/registry/v2/repositories/team/app'), { recursive: true });
      await mkdir(path.join(other, 'docker/registry/v2/blobs/sha256'), { recursive: true });
      const { code, stderr } = await clean(t, other, ['clean', 'run', '--yes']);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /does not come to \S+other \(upstream\.storage\): write the folder of the registry /,
      );
    });
  },
);
