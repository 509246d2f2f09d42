import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { openCleanFolder } from '../../../src/clean/quarantine/clean-folder.ts';
import { disk, type Disk } from '../../../src/clean/quarantine/disk.ts';
import { dataPath, revisionPath, tagPath } from '../../../src/clean/quarantine/item.ts';
import { countDamage, readRecords, reopenJournal } from '../../../src/clean/quarantine/journal.ts';
import { leaveAlone, readLeftAlone } from '../../../src/clean/quarantine/left-alone.ts';
import { readProtection } from '../../../src/clean/quarantine/protected-runs.ts';
import { findPurgeable } from '../../../src/clean/quarantine/purge.ts';
import { openQuarantine } from '../../../src/clean/quarantine/quarantine.ts';
import { recoverAll } from '../../../src/clean/quarantine/recovery.ts';
import { readRuns } from '../../../src/clean/quarantine/run-record.ts';
import { addTakenDigests, readTakenDigests } from '../../../src/clean/quarantine/taken-digests.ts';
import { undoRun } from '../../../src/clean/quarantine/undo.ts';
import {
  listItems,
  purgeEverything,
  takeEverything,
  undoEverything,
  watchDisk,
} from '../../support/quarantine-steps.ts';
import { createImageTree, readStorage, type ImageTree } from '../../support/image-tree.ts';

/** Waits for no disk. */
const fast: Disk = {
  ...disk,
  append: (file, text) => file.appendFile(text),
  syncFolder: async () => {},
};
const dayMs = 24 * 60 * 60 * 1000;

describe('the quarantine', () => {
  let dir: string;
  let root: string;
  let tree: ImageTree;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'tidegate-clean-'));
    root = path.join(dir, 'storage');
    tree = createImageTree(root, dayMs);
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const fill = () => {
    tree.image('app', 'v1', ['config 1', 'layer 1']);
    tree.image('app', 'v2', ['config 2', 'layer 1']);
    tree.image('team/app', 'v1', ['config 1', 'layer 1']);
  };

  test('takes everything and brings it back byte for byte, with the times', async () => {
    fill();
    const before = readStorage(root);
    const run = await takeEverything(root, fast);
    assert.deepEqual(readStorage(root), {});
    const [summary] = await undoEverything(root, fast);
    assert.deepEqual(readStorage(root), before);
    assert.deepEqual(summary?.restored, {
      tags: 3,
      manifests: 3,
      layers: 5,
      blobs: 5,
      bytes: sizeOf(before),
    });
    assert.equal(summary.impossibleCount, 0);
    const [record] = await readRuns(await openCleanFolder(root, fast));
    assert.equal(record?.run, run);
    assert.equal(record.state, 'undone');
    assert.equal(record.bytes, 0);
  });

  test('undo replaces nothing, and says what it cannot bring back', async () => {
    fill();
    const first = readFileSync(path.join(root, tagPath('app', 'v1'), 'current/link'), 'utf8');
    await takeEverything(root, fast);
    const other = tree.image('app', 'v1', ['config 3', 'layer 1']);
    const [summary] = await undoEverything(root, fast);
    assert.equal(readFileSync(path.join(root, tagPath('app', 'v1'), 'current/link'), 'utf8'), other);
    assert.deepEqual(summary?.impossible, [{ item: 'app:v1', why: 'the tag was pushed again' }]);
    assert.equal(readFileSync(path.join(root, revisionPath('app', first)), 'utf8'), first);
    assert.equal(summary.there, 2, 'the bytes and the link of "layer 1"');
  });

  test('undo brings back no link whose bytes are gone, and no tag without its manifest', async () => {
    fill();
    const digest = readFileSync(path.join(root, tagPath('app', 'v2'), 'current/link'), 'utf8');
    const run = await takeEverything(root, fast);
    rmSync(path.join(root, 'tidegate-clean/runs', run, 'taken', dataPath(digest)), { recursive: true });
    const [summary] = await undoEverything(root, fast);
    assert.deepEqual(
      summary?.impossible.map(({ item }) => item),
      [`the bytes of ${digest}`, `app@${digest}`, 'app:v2'],
    );
    assert.ok(!existsSync(path.join(root, tagPath('app', 'v2'))));
  });

  test('undo again brings back nothing that was deleted since', async () => {
    fill();
    await takeEverything(root, fast);
    await undoEverything(root, fast);
    rmSync(path.join(root, tagPath('app', 'v1')), { recursive: true });
    const [summary] = await undoEverything(root, fast);
    assert.equal(summary?.restored.tags, 0);
    assert.ok(!existsSync(path.join(root, tagPath('app', 'v1'))));
  });

  test('undo leaves alone what the run did not take', async () => {
    fill();
    const run = await takeEverything(root, fast);
    const journal = path.join(root, 'tidegate-clean/runs', run, 'journal.jsonl');
    const told = readFileSync(journal, 'utf8').split('\n');
    const tag = told.findIndex((line) => line.includes('"tag":"v2"'));
    const { number } = JSON.parse(told[tag] ?? '') as { number: number };
    const changed = told.map((line) =>
      line.includes('"outcome"') && line.includes(`"number":${number},`)
        ? line.replace('"taken"', '"left"')
        : line,
    );
    writeFileSync(journal, changed.join('\n'));
    const [summary] = await undoEverything(root, fast);
    assert.equal(summary?.restored.tags, 2);
  });

  test('what was restored is safe for a while, and not purged meanwhile', async () => {
    fill();
    const digest = readFileSync(path.join(root, tagPath('app', 'v1'), 'current/link'), 'utf8');
    await takeEverything(root, fast);
    const folder = await openCleanFolder(root, fast);
    assert.equal((await readProtection(folder, Date.now())).tag('app', 'v1'), null);
    await undoEverything(root, fast);
    const now = await readProtection(folder, Date.now());
    assert.ok(now.tag('app', 'v1') && now.link('app', digest) && now.data(digest));
    assert.equal(now.tag('app', 'v9'), null);
    assert.equal((await readProtection(folder, Date.now() + dayMs)).tag('app', 'v1'), null);
    assert.deepEqual(await findPurgeable(folder, { endedBeforeMs: Date.now(), nowMs: Date.now() }), []);
  });

  test('purge frees the bytes for good, and keeps in mind what there was', async () => {
    fill();
    const run = await takeEverything(root, fast);
    const folder = await openCleanFolder(root, fast);
    const [before] = await readRuns(folder);
    assert.ok((before?.bytes ?? 0) > 0);
    assert.equal(before?.state, 'in quarantine');
    await purgeEverything(root, fast);
    assert.deepEqual(await readdir(path.join(folder.path, 'runs')), []);
    assert.deepEqual(await readdir(path.join(folder.path, 'purging')), []);
    const [after] = await readRuns(folder);
    assert.deepEqual([after?.run, after?.state, after?.bytes], [run, 'purged', 0]);
    await assert.rejects(undoEverythingOf(run), /is not in quarantine/);
  });
  const undoEverythingOf = async (run: string) => {
    mkdirSync(path.join(root, 'tidegate-clean/runs', run), { recursive: true });
    await undoEverything(root, fast);
    throw new Error(`${run} is not in quarantine`);
  };

  test('a journal that was cut off at any byte holds its whole lines, and takes further ones', async () => {
    tree.image('app', 'v1', ['config 1', 'layer 1']);
    const run = await takeEverything(root, fast);
    const whole = path.join(root, 'tidegate-clean/runs', run, 'journal.jsonl');
    const text = readFileSync(whole);
    const records = [...readRecords(whole)];
    const torn = path.join(dir, 'torn.jsonl');
    const undo = { kind: 'undo', at: 1 } as const;
    // The lines before have the same forms.
    for (let end = text.length - 700; end <= text.length; end += 1)
      for (const tail of ['', '\0\n{"kind":"int']) {
        writeFileSync(torn, Buffer.concat([text.subarray(0, end), Buffer.from(tail)]));
        const complete = text.subarray(0, end).toString().split('\n').length - 1;
        assert.deepEqual([...readRecords(torn)], records.slice(0, complete));
        assert.equal(countDamage(torn), 0);
        const journal = await reopenJournal(fast, torn);
        await journal.write([undo]);
        await journal.close();
        assert.deepEqual([...readRecords(torn)], [...records.slice(0, complete), undo]);
      }
  });

  test('power fails before the intents are on disk: nothing was taken', async () => {
    fill();
    const before = readStorage(root);
    let appends = 0;
    const stopping: Disk = {
      ...fast,
      append: async (file, text) => {
        appends += 1;
        if (appends < 2) return fast.append(file, text);
        await fast.append(file, text.slice(0, text.length / 2));
        throw new Error('power');
      },
    };
    await assert.rejects(takeEverything(root, stopping), /power/);
    assert.deepEqual(readStorage(root), before);
    await undoEverything(root, fast);
    assert.deepEqual(readStorage(root), before);
  });

  test('a full disk: nothing is taken without a line in the journal', async () => {
    for (let full = 1; ; full += 1) {
      // Anew each time: undo looks at all runs that there were.
      rmSync(root, { recursive: true, force: true });
      tree = createImageTree(root, dayMs);
      tree.image('app', 'v1', ['config 1']);
      const before = readStorage(root);
      let step = 0;
      const filling = watchDisk(fast, (name) => {
        step += 1;
        if (step >= full && name !== 'unlink' && name !== 'removeTree' && name !== 'syncFolder')
          throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      });
      const error = await takeEverything(root, filling).then(
        () => null,
        (reason: unknown) => reason as Error,
      );
      await undoEverything(root, fast);
      assert.deepEqual(readStorage(root), before, `full at step ${full}`);
      if (error === null) break;
      assert.match(error.message, /ENOSPC|cannot be used/);
      assert.ok(full < 500);
    }
  });

  test('any storage comes back from any two runs', async () => {
    const image = fc.record({
      repository: fc.constantFrom('a', 'a/b', 'c'),
      tag: fc.constantFrom(null, 'v1', 'v2'),
      layers: fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 1, maxLength: 3 }),
      note: fc.constantFrom('1', '2'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(image, { maxLength: 6 }),
        fc.array(image, { maxLength: 4 }),
        async (one, two) => {
          rmSync(root, { recursive: true, force: true });
          tree = createImageTree(root, dayMs);
          const push = (images: typeof one) => {
            for (const each of images) tree.image(each.repository, each.tag, each.layers, each.note);
          };
          push(one);
          const first = readStorage(root);
          await takeEverything(root, fast);
          push(two);
          const second = readStorage(root);
          await takeEverything(root, fast);
          assert.deepEqual(readStorage(root), {});
          await undoEverything(root, fast);
          // A model: the union; where both had a file with one content, either's time; a tag as the run that came first in undo.
          const after = readStorage(root);
          const content = (text = '') => text.slice(text.indexOf(' ') + 1);
          for (const [file, text] of Object.entries({ ...first, ...second })) {
            if (file.includes('/_manifests/tags/')) continue;
            assert.ok([first[file], second[file]].includes(after[file]), file);
            assert.equal(content(after[file]), content(text));
          }
          for (const file of Object.keys(after)) assert.ok(file in first || file in second, file);
          for (const file of Object.keys({ ...first, ...second }))
            if (file.endsWith('/current/link'))
              assert.ok([content(first[file]), content(second[file])].includes(content(after[file])), file);
        },
      ),
      { numRuns: 15 },
    );
  });

  test('digests of taken manifests outlive a line that was cut off', async () => {
    const folder = await openCleanFolder(root, fast);
    const digest = (of: string) => `sha256:${of.repeat(64)}`;
    await addTakenDigests(folder, [digest('a'), digest('b')]);
    const file = path.join(folder.path, 'taken');
    writeFileSync(file, `${readFileSync(file, 'utf8')}sha256:cccc`);
    await addTakenDigests(folder, [digest('d')]);
    assert.deepEqual(await readTakenDigests(folder), [digest('a'), digest('b'), digest('d')]);
  });

  for (const how of ['recovered', 'undone'] as const)
    test(`a run that was cut off in a delete is ${how}, and its repository left alone`, async () => {
      fill();
      const folder = await openCleanFolder(root, fast);
      const quarantine = await openQuarantine(folder, { version: 'test', nowMs: 1 });
      const [, links = []] = listItems(root);
      await quarantine.intend(links.slice(0, 1));
      const times = { nowMs: 1000, graceMs: 500 };
      if (how === 'recovered') await recoverAll(folder, times);
      else
        await undoRun({
          ...{ folder, run: quarantine.run, keepMs: 1, graceMs: times.graceMs, nowMs: () => times.nowMs },
          signal: new AbortController().signal,
          locked: (_, work) => work(),
          onProgress: () => {},
        });
      assert.deepEqual([...(await readLeftAlone(folder)).values()], [1500]);
      assert.deepEqual(
        (await readRuns(folder)).map(({ result }) => result),
        ['interrupted'],
      );
    });

  test('a repository that is left alone is so until its time', async () => {
    const folder = await openCleanFolder(root, fast);
    await leaveAlone(folder, ['a'], { untilMs: 200, nowMs: 100 });
    await leaveAlone(folder, ['b'], { untilMs: 400, nowMs: 300 });
    assert.deepEqual(await readLeftAlone(folder), new Map([['b', 400]]));
  });
});

function sizeOf(files: Record<string, string>): number {
  let bytes = 0;
  for (const [file, text] of Object.entries(files))
    if (file.endsWith('/data')) bytes += text.length - text.indexOf(' ') - 1;
  return bytes;
}
