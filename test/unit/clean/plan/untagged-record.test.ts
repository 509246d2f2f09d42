import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import {
  readUntaggedRecord,
  untaggedKey,
  writeUntaggedRecord,
} from '../../../../src/clean/plan/untagged-record.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'tidegate-untagged-'));
after(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'state/untagged');

describe('the record of what was seen without a tag', () => {
  it('is empty at first', async () => {
    assert.deepEqual(await readUntaggedRecord(file), new Map());
  });

  it('is read as it was written, and replaced as a whole', async () => {
    const record = new Map(
      Array.from({ length: 20_000 }, (_, index) => [
        untaggedKey(`team/app-${index}`, `sha256:${'a'.repeat(64)}`),
        index,
      ]),
    );
    await writeUntaggedRecord(file, record);
    assert.deepEqual(await readUntaggedRecord(file), record);
    const less = new Map([[untaggedKey('a', 'sha256:b'), 1_700_000_000_000.7]]);
    await writeUntaggedRecord(file, less);
    assert.deepEqual(await readUntaggedRecord(file), new Map([['a@sha256:b', 1_700_000_000_000]]));
    assert.deepEqual(await readdir(path.dirname(file)), ['untagged']);
  });

  it('passes over what is no line of it', async () => {
    await writeFile(file, '5 a@sha256:b\n\0\n-1 c@d\n99999999999999999 e@f\n7 a b\n6');
    assert.deepEqual(await readUntaggedRecord(file), new Map([['a@sha256:b', 5]]));
  });
});
