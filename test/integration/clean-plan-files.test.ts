import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { leaveAlone } from '../../src/clean/quarantine/left-alone.ts';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { cleanCommand, startCleaner, type Cleaner } from '../support/cleaner.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { mainPath, run } from '../support/processes.ts';
import { pushImage, setPushed, setTimes } from '../support/pushed-images.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hourMs = 3_600_000;
const imageType = 'application/vnd.oci.image.manifest.v1+json';

type PlanJson = Readonly<Record<string, unknown>> & {
  readonly asOf: string;
  readonly warnings: readonly string[];
  readonly repositories: readonly { repository: string; tags: { tag: string; lastPull: string | null }[] }[];
};

/** In a row: each test goes on where the one before has left. */
describe(
  'clean plan without a cleaner',
  { timeout: 240_000, skip: unlessInstalled('docker-registry') },
  () => {
    let dir: string;
    let root: string;
    let registry: Registry;
    let door: FrontDoor;
    let cleaner: Cleaner;
    let client: CacheClient;
    before(async () => {
      dir = await mkdtemp(path.join(tmpdir(), 'tidegate-clean-'));
      registry = await startRegistry();
      root = registry.storageDir;
      for (const tag of ['old', 'pulled', 'new']) await pushImage(registry.url, 'ci/app', tag);
      for (const tag of ['old', 'new']) await pushImage(registry.url, 'ci/alone', tag);
      await setTimes(path.join(root, 'docker'), Date.now() - 200 * hourMs);
      for (const repository of ['ci/app', 'ci/alone'])
        await setPushed(root, repository, 'new', Date.now() - 100 * hourMs);
      const config = JSON.stringify({
        upstream: { storage: root },
        state: { dir: path.join(dir, 'state') },
        clean: {
          socket: path.join(dir, 'clean.sock'),
          ...{ grace: '1h', untagged: '0' },
          rules: [{ repositories: ['ci/**'], tags: ['*'], keep: { newest: 1 } }],
        },
      });
      await writeFile(path.join(dir, 'tidegate.yml'), config);
      cleaner = await startCleaner(['--config', path.join(dir, 'tidegate.yml')], dir);
      door = await startFrontDoor({ upstreamUrl: registry.url, config });
      client = createCacheClient(door);
      await cleaner.logged(({ msg }) => msg === 'a front door is connected');
    });
    after(async () => {
      client.close();
      await cleaner.stop();
      await door.stop();
      await registry.stop();
      await rm(dir, { recursive: true });
    });

    const command = (...args: string[]) =>
      cleanCommand(['clean', 'plan', ...args, '--config', path.join(dir, 'tidegate.yml')], dir);
    const planJson = async (): Promise<PlanJson> => {
      const { stdout, stderr } = await command('--json');
      assert.ok(stdout.startsWith('{'), stderr);
      return JSON.parse(stdout) as PlanJson;
    };
    /** Without the moment at which it was made, nor the notes. */
    const lasting = (plan: PlanJson) =>
      JSON.parse(JSON.stringify({ ...plan, warnings: [] }).replaceAll(plan.asOf, 'now')) as PlanJson;
    const listTree = () =>
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => {
          const { mtimeMs, ctimeMs, size, mode } = lstatSync(path.join(root, name));
          return [name, mtimeMs, ctimeMs, size, mode].join(' ');
        });

    let asked: PlanJson;

    it('is the same as the cleaner’s, with a note, while Tidegate runs', async () => {
      const { status } = await client.ask('GET', '/v2/ci/app/manifests/pulled', {
        headers: { Accept: imageType },
      });
      assert.equal(status, 200);
      const folder = { root, path: path.join(root, 'tidegate-clean'), disk };
      const nowMs = Date.now();
      await leaveAlone(folder, ['ci/alone'], { untilMs: nowMs + 24 * hourMs, nowMs });
      asked = await planJson();
      const [app] = asked.repositories;
      assert.equal(app?.repository, 'ci/app');
      assert.deepEqual(
        asked.repositories.map(({ repository, tags }) => [repository, tags.map(({ tag }) => tag)]),
        [['ci/app', ['old']]],
      );
      await cleaner.stop();
      const before = listTree();
      const read = await planJson();
      assert.deepEqual(lasting(read), lasting(asked));
      assert.match(
        read.warnings.join('\n'),
        /No cleaner listens on .*: this was read from the files alone\./,
      );
      const { code, stdout } = await command('--check');
      assert.equal(code, 3);
      assert.match(stdout, /^Warning: No cleaner listens on /m);
      assert.deepEqual(listTree(), before);
    });

    it('reads the record of pulls from its file when Tidegate does not run either', async () => {
      await door.stop();
      const before = listTree();
      const read = await planJson();
      assert.deepEqual(lasting(read), lasting(asked));
      assert.deepEqual(listTree(), before);
    });

    it('teaches whoever may not read the storage', { skip: process.getuid?.() !== 0 }, async () => {
      const { mode } = lstatSync(root);
      chmodSync(root, 0o700);
      chmodSync(dir, 0o755);
      const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, mainPath];
      const { code, stderr } = await run(
        'setpriv',
        [...asNobody, 'clean', 'plan', '--config', path.join(dir, 'tidegate.yml')],
        { cwd: dir },
      );
      chmodSync(root, mode & 0o7777);
      assert.equal(code, 1);
      assert.match(stderr, /may not read .* \(upstream\.storage\): run this as the registry's user/);
    });
  },
);
