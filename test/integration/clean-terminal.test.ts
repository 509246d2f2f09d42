import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createCacheClient } from '../support/cache-client.ts';
import { startCleanedPlace, type CleanedPlace } from '../support/cleaned-place.ts';
import { mainPath, run } from '../support/processes.ts';
import { pushImage } from '../support/pushed-images.ts';
import { until } from '../support/redis.ts';
import { startRegistry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const columns = 80;
/** As long as they may be. */
const [longRepository, longTag] = [`ci/${'long-name/'.repeat(24)}${'x'.repeat(12)}`, 't'.repeat(128)];
const repositories = ['ci/app', 'ci/backend-of-the-other-department', longRepository];
const imageType = 'application/vnd.oci.image.manifest.v1+json';

/** In a row: each test goes on where the one before has left the registry. */
describe(
  `the clean-up on a terminal of ${columns} columns`,
  { timeout: 180_000, skip: unlessInstalled('docker-registry', 'script', 'stty') },
  () => {
    let place: CleanedPlace;
    before(async () => {
      const registry = await startRegistry();
      for (const repository of repositories)
        for (const tag of ['one', longTag, 'last']) await pushImage(registry.url, repository, tag);
      place = await startCleanedPlace(registry, {
        clean: {
          ...{ grace: '0', untagged: '0' },
          rules: [
            { repositories: ['**'], tags: ['v*', 'latest'], keep: 'forever' },
            {
              repositories: ['ci/**', 'team/**'],
              tags: ['*'],
              keep: { newest: 1, pushedWithin: '1s', pulledWithin: '1s' },
            },
          ],
        },
      });
      const client = createCacheClient(place.door);
      for (const repository of repositories)
        await client.ask('GET', `/v2/${repository}/manifests/last`, { headers: { Accept: imageType } });
      client.close();
    });
    after(() => place.stop());

    /** Runs a command as a person does, and looks at each line. */
    const show = async (args: readonly string[], input = ''): Promise<string> => {
      const command = [process.execPath, mainPath, ...args, '--config', place.configPath].join(' ');
      const { stdout } = await run(
        'script',
        ['-q', '-e', '-c', `stty cols ${columns} rows 50; exec ${command}`, '/dev/null'],
        { cwd: place.dir, input },
      );
      const lines = stdout.split(/\r?\n|\r\u001b\[K/);
      for (const line of lines) {
        const short = line.replaceAll(longRepository, 'R').replaceAll(longTag, 'T');
        assert.ok(line.length <= columns || (short !== line && short.length <= 20), `too wide: ${line}`);
      }
      return lines.join('\n');
    };

    it('shows a plan, asks, and does it', async () => {
      await until('the record of pulls is as old as pulledWithin', async () =>
        /^Goes: 6 tags/m.test(await show(['clean', 'plan', '--all'])),
      );
      const ran = await show(['clean', 'run'], 'y\r');
      assert.match(ran, /^Took into quarantine: 6 tags, 6 manifests/m);
    });

    it('shows how it fares, and brings it back', async () => {
      assert.match(await show(['clean', 'status']), /^Last run: done/m);
      // A tag that is there again cannot be brought back.
      await pushImage(place.registry.url, longRepository, longTag);
      const undone = await show(['clean', 'undo']);
      assert.match(undone, /^Brought back from /m);
      assert.match(undone, /^1 cannot be brought back:$/m);
    });

    it('removes a tag, deletes for good, and says why not', async () => {
      assert.match(await show(['tag', 'remove', `${longRepository}:last`]), /^Removed$/m);
      assert.match(await show(['tag', 'remove', `${longRepository}:none`]), /^There is no tag/m);
      assert.match(await show(['clean', 'purge'], 'y\r'), /^Deleted for good: /m);
      assert.match(await show(['clean', 'undo']), /^There is no run to undo/m);
      await place.cleaner.stop();
      assert.match(await show(['clean', 'status']), /^No cleaner listens on /m);
      assert.match(await show(['clean', 'plan']), /^Warning: No cleaner listens on /m);
    });

    it('shows what was pulled', async () => {
      assert.match(await show(['usage']), /^ci\/app\n {2}1 pull, the last .* by alice$/m);
      await show(['usage', longRepository]);
    });

    for (const args of [['clean'], ['clean', 'plan'], ['clean', 'run'], ['clean', 'undo'], ['tag', 'remove']])
      it(`${args.join(' ')} --help`, async () => {
        assert.match(await show([...args, '--help']), /^Usage: tidegate /m);
      });
  },
);
