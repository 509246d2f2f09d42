import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { beforeDelete, whenBusy } from '../../support/altered-doors.ts';
import { startCleanedRegistry, type CleanedRegistry } from '../../support/cleaned-registry.ts';
import { copyProgram, type Omission } from '../../support/program-copy.ts';
import { startRegistry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { startSteppedRegistry } from '../../support/stepped-registry.ts';

/*
 * Guard 2 of the clean-up: with it an image stays whole, and with a copy of the program without it, in the same history, that
 * image is lost.
 */

const skip = unlessInstalled('docker-registry');

const waitsForNothing: Omission = {
  file: 'locks/repository-activity.js',
  from: 'if (place.active === 0)\n                callQuiet(place);\n        },\n        thaw',
  to: 'callQuiet(place);\n        },\n        thaw',
};
const holdsNothing: Omission = {
  file: 'locks/repository-activity.js',
  from: 'if (repositories.some((repository) => places.isFrozen(repository)))\n            return null;',
  to: '',
};

describe('guard 2: a delete', { skip }, () => {
  /** Runs `act` with front doors of this program, or of a copy without something. */
  async function withRegistry(
    omission: Omission | null,
    act: (
      registry: CleanedRegistry,
      hold: (target: string) => { reached: Promise<void>; release: () => void },
    ) => Promise<void>,
  ): Promise<void> {
    const copy = omission && (await copyProgram([omission]));
    const real = await startRegistry({ remembersBlobs: true });
    const stepped = await startSteppedRegistry(real.url);
    const registry = await startCleanedRegistry({
      registry: { ...real, url: stepped.url },
      within: copy?.within ?? [],
    });
    const hold = (wanted: string) => {
      let [reach, release] = [() => {}, () => {}];
      const reached = new Promise<void>((resolve) => (reach = resolve));
      const released = new Promise<void>((resolve) => (release = resolve));
      stepped.onStep = async ({ method, target, at }) => {
        if (method !== 'PUT' || target !== wanted || at !== 'request') return;
        reach();
        await released;
      };
      return { reached, release };
    };
    try {
      await act(registry, hold);
    } finally {
      await registry.stop();
      await stepped.close();
      await copy?.remove();
    }
  }

  /** An image whose blobs another tag holds, too. */
  async function pushTwo(registry: CleanedRegistry): Promise<string> {
    const { body } = await registry.push('app', 'v1', ['config 1', 'layer 1']);
    await registry.push('app', 'v2', ['config 1', 'layer 1', 'layer 2']);
    return body;
  }

  const pushUnderWay = (omission: Omission | null, expected: string | null) =>
    withRegistry(omission, async (registry, hold) => {
      const body = await pushTwo(registry);
      const { reached, release } = hold('/v2/app/manifests/v3');
      const pushing = registry.retag('app', 'v3', body);
      await reached;
      const stop = new AbortController();
      // With the guard it could try for long.
      const doors = whenBusy(registry.cleaner.doors, 'app', () => omission ?? stop.abort());
      await registry.run({ doors, signal: stop.signal });
      release();
      assert.equal((await pushing).status, 201);
      assert.equal(await registry.pull('app', 'v3'), expected);
    });

  test('waits for a push that is under way', () => pushUnderWay(null, null));
  test('that did not wait would lose it', () => pushUnderWay(waitsForNothing, 'manifest v3: 404'));

  const pushMeanwhile = (omission: Omission | null, expected: string | null) =>
    withRegistry(omission, async (registry) => {
      const body = await pushTwo(registry);
      let pushing = Promise.resolve({ status: 0 });
      const doors = beforeDelete(registry.cleaner.doors, 'app', async () => {
        pushing = registry.retag('app', 'v3', body);
        // Held, it ends only after the delete.
        if (omission !== null) await pushing;
      });
      // It may find that something was written under its lock.
      await registry.run({ doors }).catch(() => {});
      assert.equal((await pushing).status, 201);
      assert.equal(await registry.pull('app', 'v3'), expected);
    });

  test('holds a push that begins meanwhile', () => pushMeanwhile(null, null));
  test('that held none would lose it', () => pushMeanwhile(holdsNothing, 'manifest v3: 404'));
});
