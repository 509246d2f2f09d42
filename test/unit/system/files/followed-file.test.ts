import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { followFile, readFileContent } from '../../../../src/system/files/followed-file.ts';
import { until } from '../../../support/redis.ts';
import { replaceFile } from '../../../support/reload.ts';

describe('a followed file', () => {
  let dir: string;
  let file: string;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-followed-'));
    file = path.join(dir, 'file');
  });
  after(() => rm(dir, { recursive: true }));

  /** Follows the file, and counts its reads. */
  const follow = async () => {
    const seen = { reads: 0 };
    const followed = await followFile({
      path: file,
      name: 'file',
      lastGood: 'the last content stays',
      read: async (name) => {
        seen.reads += 1;
        return readFileContent(name, 1000);
      },
      parse: ({ bytes }) => bytes.toString(),
      explain: (error) => error as Error,
      describe: () => ({}),
      warn: () => {},
      logger: { info: () => {}, warn: () => {}, error: () => {} },
    });
    return { ...followed, seen };
  };

  it('keeps what it was put back to while a reload had read something else', async () => {
    await replaceFile(file, 'without');
    const followed = await follow();
    await replaceFile(file, 'with');
    const reread = await followed.reread();
    assert.ok(reread.isNew);
    await replaceFile(file, 'without');
    const { reads } = followed.seen;
    // The second of them has begun when the first has ended.
    await until('it is read again', () => followed.seen.reads > reads + 1);
    reread.use();
    assert.equal(followed.value(), 'without');
    followed.close();
  });
});
