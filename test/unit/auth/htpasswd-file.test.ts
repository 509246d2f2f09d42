import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openHtpasswdFile } from '../../../src/auth/htpasswd/htpasswd-file.ts';
import type { HtpasswdFile } from '../../../src/auth/htpasswd/htpasswd-file.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

const sha = (password: string) => `{SHA}${createHash('sha1').update(password).digest('base64')}`;

describe('openHtpasswdFile', () => {
  let folder: string;
  let path: string;
  let opened: HtpasswdFile | undefined;
  let log: { level: string; message: string }[];
  const record = (level: string) => (_fields: object, message: string) => void log.push({ level, message });
  const logger = { info: record('info'), warn: record('warn'), error: record('error') };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-htpasswd-'));
    path = join(folder, 'htpasswd');
    log = [];
  });
  afterEach(() => {
    opened?.close();
    opened = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(file = path): Promise<HtpasswdFile> {
    opened = await openHtpasswdFile({ path: file, maxBcryptCost: 14, maxShaCryptRounds: 500_000, logger });
    return opened;
  }
  const logged = (level: string) => log.filter((line) => line.level === level).map((line) => line.message);
  const names = (file: HtpasswdFile) => file.usable().map(({ line }) => line).length;

  /** Fails when it has not come true within the two seconds that are promised. */
  async function withinTwoSeconds(isSo: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + 2000;
    while (!isSo()) {
      assert.ok(performance.now() < deadlineMs, `not within two seconds; log: ${JSON.stringify(log)}`);
      await sleep(20);
    }
  }

  it('sees a write in place, and users that go', async () => {
    writeFileSync(path, `alice:${sha('x')}\n`);
    const file = await open();
    assert.equal(file.lookup('alice')?.hash, sha('x'));
    appendFileSync(path, `bob:${sha('y')}\n`);
    await withinTwoSeconds(() => file.lookup('bob') !== undefined);
    writeFileSync(path, `bob:${sha('y')}\n`);
    await withinTwoSeconds(() => file.lookup('alice') === undefined);
    assert.equal(names(file), 1);
    assert.equal(file.generation(), 3);
  });

  it('sees a change of the same size right after it was loaded, even with the old times', async () => {
    const then = new Date(Date.now() - 100);
    writeFileSync(path, `alice:${sha('x')}\n`);
    utimesSync(path, then, then);
    const file = await open();
    writeFileSync(path, `alice:${sha('y')}\n`);
    utimesSync(path, then, then);
    await withinTwoSeconds(() => file.lookup('alice')?.hash === sha('y'));
  });

  it('sees a rename onto it', async () => {
    writeFileSync(path, `alice:${sha('x')}\n`);
    const file = await open();
    writeFileSync(`${path}.new`, `bob:${sha('x')}\n`);
    renameSync(`${path}.new`, path);
    await withinTwoSeconds(() => file.lookup('bob') !== undefined && file.lookup('alice') === undefined);
  });

  it('sees the symlink swap of a Kubernetes secret', async () => {
    for (const version of ['1', '2']) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, 'htpasswd'), `user${version}:${sha('x')}\n`);
    }
    symlinkSync('1', join(folder, '..data'));
    symlinkSync('..data/htpasswd', path);
    const file = await open();
    assert.ok(file.lookup('user1'));
    symlinkSync('2', join(folder, '..tmp'));
    renameSync(join(folder, '..tmp'), join(folder, '..data'));
    await withinTwoSeconds(() => file.lookup('user2') !== undefined && file.lookup('user1') === undefined);
  });

  it('keeps the last good users when the file is garbage, says so once, and once when it is well', async () => {
    writeFileSync(path, `alice:${sha('x')}\n`);
    const file = await open();
    for (const garbage of ['\0\0\0', Buffer.from([0xff, 0xfe, 0x41])]) {
      log.length = 0;
      writeFileSync(path, garbage);
      await withinTwoSeconds(() => logged('error').length > 0);
      assert.ok(file.lookup('alice'));
      // Several polls later there is still the one line.
      await sleep(1000);
      assert.equal(logged('error').length, 1);
      assert.match(
        logged('error')[0] ?? '',
        /htpasswd cannot be used \(it is (not a text file|text in UTF-16).*\)/,
      );
      writeFileSync(path, `alice:${sha('x')}\n`);
      await withinTwoSeconds(() => logged('info').length > 0);
      assert.deepEqual(logged('info'), [`The htpasswd file ${path} can be used again.`]);
    }
    assert.equal(file.generation(), 1);
  });

  it('keeps the last good users when the file is deleted, a directory or a FIFO', async () => {
    writeFileSync(path, `alice:${sha('x')}\n`);
    const file = await open();
    const obstacles = [
      () => undefined,
      () => mkdirSync(path),
      () => assert.equal(spawnSync('mkfifo', [path]).status, 0),
    ];
    for (const [number, obstruct] of obstacles.entries()) {
      log.length = 0;
      rmSync(path, { recursive: true });
      obstruct();
      await withinTwoSeconds(() => logged('error').length === 1);
      assert.ok(file.lookup('alice'));
      rmSync(path, { recursive: true, force: true });
      writeFileSync(path, `alice:${sha('x')}\nbob${number}:${sha('x')}\n`);
      await withinTwoSeconds(() => file.lookup(`bob${number}`) !== undefined);
      assert.equal(logged('error').length, 1);
    }
  });

  it('an emptied file lets nobody in', async () => {
    writeFileSync(path, `alice:${sha('x')}\n`);
    const file = await open();
    writeFileSync(path, '');
    await withinTwoSeconds(() => file.lookup('alice') === undefined);
    assert.match(logged('warn')[0] ?? '', /has no user/);
  });

  it('names the lines that never match in one line, and nothing of them', async () => {
    writeFileSync(path, `alice:${sha('x')}\nbob:plainSecret\n# c\ncarol:rqXexS6ZhobKA\nonlyasecret\n`);
    await open();
    assert.equal(logged('warn').length, 1);
    const [warning = ''] = logged('warn');
    assert.ok(warning.includes(path));
    for (const part of ['line 2:', 'line 4:', 'line 5:']) assert.ok(warning.includes(part), warning);
    assert.doesNotMatch(warning, /plainSecret|rqXexS6ZhobKA|onlyasecret/);
  });

  it('names twenty of very many', async () => {
    writeFileSync(path, Array.from({ length: 100 }, (_, i) => `user${i}:plain\n`).join(''));
    await open();
    assert.match(logged('warn')[0] ?? '', /line 20: .*and 80 more/);
  });

  it('refuses to start without a file, or with none of its kind', async () => {
    const starts = async (pattern: RegExp) =>
      assert.rejects(open(), (error: unknown) => {
        assert.ok(error instanceof OperatorError);
        assert.match(error.message, pattern);
        return true;
      });
    await starts(/does not exist: create it with `tidegate user add NAME --file .*htpasswd`\.$/);
    writeFileSync(path, 'a\0b');
    await starts(/cannot be used: it is not a text file/);
    rmSync(path);
    mkdirSync(path);
    await starts(/cannot be used: it is not a regular file/);
  });
});
