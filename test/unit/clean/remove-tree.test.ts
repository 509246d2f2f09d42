import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { removeTree } from '../../../src/clean/quarantine/remove-tree.ts';

describe('removing a folder with all that is in it', () => {
  test('leaves nothing of it, and all else', async (t) => {
    const dir = makeFolder(t);
    fill(path.join(dir, 'going'), 40);
    fill(path.join(dir, 'staying'), 2);
    await removeTree(path.join(dir, 'going'));
    assert.deepEqual(readdirSync(dir), ['staying']);
    assert.equal(readdirSync(path.join(dir, 'staying'), { recursive: true }).length, 2 * 3);
  });

  test('follows no symbolic link, neither in it nor in its place', async (t) => {
    const dir = makeFolder(t);
    fill(path.join(dir, 'staying'), 2);
    mkdirSync(path.join(dir, 'going'));
    symlinkSync('../staying', path.join(dir, 'going/link'));
    symlinkSync('staying', path.join(dir, 'link'));
    await removeTree(path.join(dir, 'going'));
    await removeTree(path.join(dir, 'link'));
    assert.deepEqual(readdirSync(dir), ['staying']);
    assert.equal(readdirSync(path.join(dir, 'staying')).length, 2);
  });

  test('takes a file as well, and what is not there', async (t) => {
    const dir = makeFolder(t);
    const file = path.join(dir, 'file');
    writeFileSync(file, '');
    await removeTree(file);
    await removeTree(file);
    assert.equal(existsSync(file), false);
  });

  test('ends beside another one that removes the same', async (t) => {
    const dir = makeFolder(t);
    const going = path.join(dir, 'going');
    fill(going, 200);
    await Promise.all([removeTree(going), removeTree(going)]);
    assert.equal(existsSync(going), false);
  });

  test('says what could not be removed', { skip: process.platform !== 'linux' }, async () => {
    await assert.rejects(removeTree('/proc/self/fd'), { code: /^E(PERM|ACCES)$/ });
  });

  test('makes few calls at a time, however much is in it', async (t) => {
    const going = path.join(makeFolder(t), 'going');
    fill(going, 1000);
    const over = new AbortController();
    let most = 0;
    const removing = removeTree(going).finally(() => over.abort());
    while (!over.signal.aborted) {
      const calls = process.getActiveResourcesInfo().filter((what) => what.startsWith('FSReq'));
      most = Math.max(most, calls.length);
      await nextTurn();
    }
    await removing;
    assert.ok(most > 0 && most <= 32, `${most} at a time`);
  });
});

function makeFolder(t: TestContext): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'tidegate-remove-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** As many blobs, each in folders of its own. */
function fill(dir: string, count: number): void {
  for (let i = 0; i < count; i += 1) {
    mkdirSync(path.join(dir, `${i}/blob`), { recursive: true });
    writeFileSync(path.join(dir, `${i}/blob/data`), '');
  }
}
