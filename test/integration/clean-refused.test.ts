import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startCleanedPlace, type CleanedPlace } from '../support/cleaned-place.ts';
import { pushImage } from '../support/pushed-images.ts';
import { startRegistry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

type StatusJson = { readonly failures: number; readonly running: boolean; readonly lastRun: unknown };

describe(
  'the clean-up soon after a start, without a record of pulls',
  { timeout: 120_000, skip: unlessInstalled('docker-registry') },
  () => {
    let place: CleanedPlace;
    before(async () => {
      const registry = await startRegistry();
      await pushImage(registry.url, 'ci/app', 'one');
      place = await startCleanedPlace(registry, {
        state: { usage: false },
        clean: {
          grace: '1h',
          rules: [{ repositories: ['**'], tags: ['*'], keep: { pulledWithin: '1h' } }],
        },
      });
    });
    after(() => place.stop());

    it('a run by command that comes too early is refused, and counts as no failure', async () => {
      const { code, stderr } = await place.command('clean', 'run', '--yes');
      assert.equal(code, 1);
      assert.match(stderr, /^Nothing is taken before .*: clean\.grace \(1h\) must pass/m);
      await place.cleaner.logged(({ msg }) => msg === 'job put off');
      const { stdout } = await place.command('clean', 'status', '--json');
      const { failures, running, lastRun } = JSON.parse(stdout) as StatusJson;
      assert.deepEqual({ failures, running, lastRun }, { failures: 0, running: false, lastRun: null });
    });

    it('a plan says that pulls are not recorded', async () => {
      const { stdout } = await place.command('clean', 'plan');
      assert.match(stdout, /^Pulls are not recorded\.$/m);
      assert.match(stdout, /^Warning: Pulls are not recorded \(state\.usage\), so no rule/m);
    });
  },
);
