import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readRegularFile } from '../../../../src/system/files/regular-file.ts';

const mebibyte = 1024 * 1024;

describe('readRegularFile', { timeout: 240_000 }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tidegate-regular-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const fileOf = (bytes: number): string => {
    const file = path.join(folder, String(bytes));
    writeFileSync(file, '');
    truncateSync(file, bytes);
    return file;
  };

  it('reads a file, up to 4 MiB', async () => {
    const file = fileOf(4 * mebibyte);
    assert.equal((await readRegularFile(file)).length, 4 * mebibyte);
    await assert.rejects(readRegularFile(fileOf(4 * mebibyte + 1)), { code: 'larger than 4 MiB' });
  });

  it('does not wait for a FIFO that nobody writes to', async () => {
    const file = path.join(folder, 'fifo');
    assert.equal(spawnSync('mkfifo', [file]).status, 0);
    await assert.rejects(readRegularFile(file), { code: 'not a regular file' });
  });

  it('does not read a device, which may have no end', async () => {
    await assert.rejects(readRegularFile('/dev/zero'), { code: 'not a regular file' });
  });

  it('says of a folder that it is one, and of what is missing that it is', async () => {
    await assert.rejects(readRegularFile(folder), { code: 'EISDIR' });
    await assert.rejects(readRegularFile(path.join(folder, 'none')), { code: 'ENOENT' });
  });
});
