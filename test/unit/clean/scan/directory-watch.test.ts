import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { DirectoryWatch } from '../../../../src/clean/scan/directory-watch.ts';
import { setTime } from '../../../support/storage-tree.ts';

describe('a watch of folders', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'tidegate-watch-'));
  after(() => rmSync(root, { recursive: true }));
  const folder = path.join(root, 'folder');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'file'), '');
  /** A clock that says that all of this was long ago. */
  const later = () => Date.now() + 3_000;
  const watch = () => {
    const made = new DirectoryWatch(later);
    for (const name of ['', '/file', '/missing']) made.add(folder + name);
    return made;
  };

  for (const [what, change, changed] of [
    ['nothing', () => {}, []],
    ['a new entry', () => mkdirSync(`${folder}/missing`), ['', '/missing']],
    ['an entry that went', () => rmSync(`${folder}/missing`, { recursive: true }), ['', '/missing']],
    ['a file written to', () => writeFileSync(`${folder}/file`, 'more'), ['/file']],
    ['a time set back', () => setTime(`${folder}/file`, 0), ['/file']],
    ['another folder in its place', () => swap(folder), ['', '/file']],
    ['a folder that is gone', () => rmSync(folder, { recursive: true }), ['', '/file']],
  ] as const)
    test(`tells of ${what}`, () => {
      const watched = watch();
      change();
      assert.deepEqual(
        watched.changed(),
        changed.map((name) => folder + name),
      );
    });

  test('takes what changed just before it was read for changed', () => {
    const watched = new DirectoryWatch();
    mkdirSync(folder);
    watched.add(folder);
    assert.deepEqual(watched.changed(), [folder]);
    assert.equal(watched.size, 1);
  });
});

function swap(folder: string): void {
  renameSync(folder, `${folder}-old`);
  mkdirSync(folder);
  writeFileSync(`${folder}/file`, '');
}
