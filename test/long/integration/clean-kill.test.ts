import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { openCleanFolder } from '../../../src/clean/quarantine/clean-folder.ts';
import { disk, type Disk } from '../../../src/clean/quarantine/disk.ts';
import { tagPath } from '../../../src/clean/quarantine/item.ts';
import { readRuns } from '../../../src/clean/quarantine/run-record.ts';
import { purgeEverything, takeEverything, undoEverything } from '../../support/quarantine-steps.ts';
import { unlessPossible } from '../../support/requirement.ts';
import { createImageTree, readStorage } from '../../support/image-tree.ts';

const processPath = fileURLToPath(new URL('../../support/quarantine-process.js', import.meta.url));

describe('SIGKILL before each step', { timeout: 600_000 }, () => {
  let dir: string;
  let original: string;
  let whole: Record<string, string>;
  before(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'tidegate-clean-'));
    original = path.join(dir, 'original');
    const tree = createImageTree(original, 24 * 60 * 60 * 1000);
    tree.image('app', 'v1', ['config 1']);
    tree.layer('team/app', tree.data('layer 1'));
    whole = readStorage(original);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const copy = (from: string, name: string) => {
    const to = path.join(dir, name);
    rmSync(to, { recursive: true, force: true });
    execFileSync('cp', ['-a', from, to]); // Node's own rounds the times
    return to;
  };
  /** Does it once for each step, until it lives to its end. */
  const atEachStep = async (
    work: 'take' | 'undo' | 'purge',
    start: string,
    check: (root: string) => Promise<void>,
  ) => {
    for (let step = 1; ; step += 1) {
      const root = copy(start, work);
      const child = spawn(process.execPath, [processPath, root, work, String(step)], { stdio: 'inherit' });
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      await check(root);
      if (signal === null) {
        assert.equal(code, 0);
        assert.ok(step > 10, 'there are steps');
        return;
      }
      assert.equal(signal, 'SIGKILL');
    }
  };

  test('of a run: visible as half done, undone whole, and the next run begins', async () => {
    await atEachStep('take', original, async (root) => {
      const folder = await openCleanFolder(root, disk);
      const states = (await readRuns(folder)).map(({ state }) => state);
      assert.ok(states.every((state) => state === 'half-done' || state === 'in quarantine'));
      await undoEverything(root, disk);
      assert.deepEqual(readStorage(root), whole);
      await takeEverything(root, disk);
      assert.deepEqual(readStorage(root), {});
    });
  });

  test('of an undo: repeated, it brings back all', async () => {
    const taken = copy(original, 'taken');
    await takeEverything(taken, disk);
    await atEachStep('undo', taken, async (root) => {
      await undoEverything(root, disk);
      assert.deepEqual(readStorage(root), whole);
    });
  });

  test('of a purge: it can be undone whole, or it is gone whole', async () => {
    const taken = copy(original, 'taken');
    await takeEverything(taken, disk);
    await atEachStep('purge', taken, async (root) => {
      await undoEverything(root, disk);
      const found = readStorage(root);
      assert.ok(Object.keys(found).length === 0 || Object.keys(found).length === Object.keys(whole).length);
      await purgeEverything(root, disk);
    });
  });
});

const canMount =
  spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt'], { stdio: 'ignore' })
    .status === 0;

describe('a full disk', { skip: unlessPossible(canMount, 'mounting a tmpfs'), timeout: 550_000 }, () => {
  const killed: Disk = {
    ...disk,
    unlink: (file) => (path.basename(file) === 'reserve' ? Promise.reject(new Error()) : disk.unlink(file)),
  };
  for (const [how, runDisk] of [
    ['fails', disk],
    ['was killed', killed],
  ] as const)
    test(`holds up no purge of a run that ${how} on it`, async () => {
      const dir = mkdtempSync(path.join(tmpdir(), 'tidegate-clean-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', dir]);
      const filler = path.join(dir, 'filler');
      const fillUp = () => {
        const { bavail, bsize } = statfsSync(dir);
        appendFileSync(filler, Buffer.alloc(bavail * bsize));
      };
      try {
        const root = path.join(dir, 'storage');
        const tree = createImageTree(root, 24 * 60 * 60 * 1000);
        for (let i = 0; i < 400; i += 1) tree.image('app', `v${i}`, [`config ${i}`, `layer ${i}`]);
        // Others fill the disk once tags are gone.
        const filling: Disk = {
          ...runDisk,
          append: (file, text) => {
            if (!existsSync(filler) && !existsSync(path.join(root, tagPath('app', 'v1')))) fillUp();
            return runDisk.append(file, text);
          },
        };
        await assert.rejects(takeEverything(root, filling), /ENOSPC/);
        fillUp();
        await purgeEverything(root, disk);
        assert.deepEqual(
          (await readRuns(await openCleanFolder(root, disk))).filter(({ state }) => state !== 'purged'),
          [],
        );
      } finally {
        execFileSync('umount', [dir]);
        rmSync(dir, { recursive: true });
      }
    });

  test('wherever it ends a run, everything comes back, and a purge frees it', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'tidegate-clean-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir]);
    try {
      const root = path.join(dir, 'storage');
      const tree = createImageTree(root, 24 * 60 * 60 * 1000);
      for (let i = 0; i < 12; i += 1) tree.image(`app-${i % 3}`, `v${i}`, [`config ${i}`, `layer ${i}`]);
      const whole = readStorage(root);
      const filler = path.join(dir, 'filler');
      let failed = 0;
      for (let freeKiB = 0; ; freeKiB += 4) {
        const { bavail, bsize } = statfsSync(dir);
        writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - freeKiB * 1024)));
        const error = await takeEverything(root, disk).then(
          () => null,
          (reason: unknown) => reason,
        );
        rmSync(filler);
        if (error === null) break;
        failed += 1;
        await undoEverything(root, disk);
        assert.deepEqual(readStorage(root), whole, `with ${freeKiB} KiB free`);
        rmSync(path.join(root, 'tidegate-clean'), { recursive: true });
      }
      assert.ok(failed > 3, `${failed} runs met a full disk`);
      const { bavail, bsize } = statfsSync(dir);
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
      await purgeEverything(root, disk);
      assert.ok(statfsSync(dir).bavail > 0);
    } finally {
      execFileSync('umount', [dir]);
      rmSync(dir, { recursive: true });
    }
  });
});
