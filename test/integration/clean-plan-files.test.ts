import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { leaveAlone } from '../../src/clean/quarantine/left-alone.ts';
import { startCleanedPlace, type CleanedPlace } from '../support/cleaned-place.ts';
import { mainPath, run } from '../support/processes.ts';
import { pushImage, setPushed, setTimes } from '../support/pushed-images.ts';
import { until } from '../support/redis.ts';
import { startRegistry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const hourMs = 3_600_000;
const imageType = 'application/vnd.oci.image.manifest.v1+json';

type PlanJson = Readonly<Record<string, unknown>> & {
  readonly asOf: string;
  readonly warnings: readonly string[];
  readonly exempt: { readonly askedFor: { readonly tags: number } };
  readonly repositories: readonly { repository: string; tags: { tag: string; lastPull: string | null }[] }[];
};

/** In a row: each test goes on where the one before has left. */
describe(
  'clean plan without a cleaner',
  { timeout: 480_000, skip: unlessInstalled('docker-registry') },
  () => {
    let root: string;
    let place: CleanedPlace;
    before(async () => {
      const registry = await startRegistry();
      root = registry.storageDir;
      for (const tag of ['old', 'pulled', 'new']) await pushImage(registry.url, 'ci/app', tag);
      for (const tag of ['old', 'new']) await pushImage(registry.url, 'ci/alone', tag);
      await setTimes(path.join(root, 'docker'), Date.now() - 200 * hourMs);
      for (const repository of ['ci/app', 'ci/alone'])
        await setPushed(root, repository, 'new', Date.now() - 100 * hourMs);
      place = await startCleanedPlace(registry, {
        clean: {
          ...{ grace: '1h', untagged: '0' },
          rules: [{ repositories: ['ci/**'], tags: ['*'], keep: { newest: 1 } }],
        },
      });
    });
    after(() => place.stop());

    const command = (...args: string[]) => place.command('clean', 'plan', ...args);
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
      const { status } = await place.client.ask('GET', '/v2/ci/app/manifests/pulled', {
        headers: { Accept: imageType },
      });
      assert.equal(status, 200);
      const folder = { root, path: path.join(root, 'tidegate-clean'), disk };
      const nowMs = Date.now();
      await leaveAlone(folder, ['ci/alone'], { untilMs: nowMs + 24 * hourMs, nowMs });
      // Until the pull is in the record, only the front door knows of it.
      await until('the pull is in the record', async () => {
        asked = await planJson();
        return asked.exempt.askedFor.tags === 0;
      });
      const [app] = asked.repositories;
      assert.equal(app?.repository, 'ci/app');
      assert.deepEqual(
        asked.repositories.map(({ repository, tags }) => [repository, tags.map(({ tag }) => tag)]),
        [['ci/app', ['old']]],
      );
      await place.cleaner.stop();
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
      await place.door.stop();
      const before = listTree();
      const read = await planJson();
      assert.deepEqual(lasting(read), lasting(asked));
      assert.deepEqual(listTree(), before);
    });

    it('teaches whoever may not read the storage', { skip: process.getuid?.() !== 0 }, async () => {
      const { mode } = lstatSync(root);
      chmodSync(root, 0o700);
      chmodSync(place.dir, 0o755);
      const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, mainPath];
      const { code, stderr } = await run(
        'setpriv',
        [...asNobody, 'clean', 'plan', '--config', place.configPath],
        { cwd: place.dir },
      );
      chmodSync(root, mode & 0o7777);
      assert.equal(code, 1);
      assert.match(stderr, /may not read .* \(upstream\.storage\): run this as the registry's user/);
    });
  },
);
