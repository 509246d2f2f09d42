import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  read,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { createLogOutput, openLogFile, type LogOutput } from '../../../src/telemetry/log/log-output.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'tidegate-log-output-'));
after(() => rmSync(folder, { recursive: true }));

/** Far longer than any write here takes, also on a busy machine. */
const patienceMs = 30_000;

/** Whether all that was given is written within so many milliseconds. */
const flush = ({ stream }: LogOutput, timeoutMs: number): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs);
    stream.write('', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });

for (const isShared of [false, true]) {
  test(`lines are written in order, ${isShared ? 'by several processes' : 'by one'}`, async () => {
    const file = path.join(tmpdir(), `tidegate-test-log-${process.pid}`);
    const fd = openSync(file, 'w');
    const output = createLogOutput(fd, { isShared });
    const lines = Array.from({ length: 1000 }, (_, i) => `${'x'.repeat((i * 7) % 5000)}${i}\n`);
    for (const line of lines) output.stream.write(line);
    assert.equal(await flush(output, patienceMs), true);
    assert.equal(readFileSync(file, 'utf8'), lines.join(''));
    closeSync(fd);
    rmSync(file);
  });
}

for (const isShared of [false, true]) {
  test(`nothing is begun behind the last flush, ${isShared ? 'by several processes' : 'by one'}`, async () => {
    const file = path.join(folder, `last-${isShared}`);
    const output = createLogOutput(openLogFile(file), { isShared });
    output.stream.write('before\n');
    const flushed = output.end(patienceMs);
    // The stream has begun a write of the first; this one is in its next.
    const later = new Promise((resolve) => output.stream.write('later\n', resolve));
    assert.equal(await flushed, true);
    const last = new Promise((resolve) => output.stream.write('last\n', resolve));
    await Promise.all([later, last]);
    assert.ok(['before\n', 'before\nlater\n'].includes(readFileSync(file, 'utf8')));
  });
}

/** An output with a line that the full disk has refused; `failures` gets the codes that it is told of. */
function openRefused(isShared: boolean): Promise<{ output: LogOutput; failures: (string | undefined)[] }> {
  return new Promise((resolve) => {
    const failures: (string | undefined)[] = [];
    const output = createLogOutput(openSync('/dev/full', 'w'), {
      isShared,
      onFailure: ({ code }) => {
        failures.push(code);
        resolve({ output, failures });
      },
    });
    output.stream.write('line\n');
  });
}

test('a full disk is no error, only a flush that does not end in time', async () => {
  const { output } = await openRefused(false);
  assert.equal(await flush(output, 300), false);
  assert.equal(output.stream.errored, null);
});

for (const isShared of [false, true]) {
  test(`a file that is opened again ${isShared ? 'by one of several writers ' : ''}loses and repeats no line`, async () => {
    const file = path.join(folder, `reopened-${isShared}`);
    const output = createLogOutput(openLogFile(file), { isShared });
    const lines = Array.from({ length: 4000 }, (_, i) => `${'x'.repeat((i * 7) % 900)}${i}\n`);
    let rotations = 0;
    const reopened: Promise<void>[] = [];
    for (const [i, line] of lines.entries()) {
      if (i === lines.length - 1) await Promise.all(reopened);
      output.stream.write(line);
      // What follows goes to the new file, however slow the machine is.
      if (i % 1000 === 200) await Promise.all(reopened);
      if (i % 1000 === 250) assert.equal(await flush(output, patienceMs), true);
      if (i % 1000 !== 500) continue;
      await Promise.all(reopened);
      renameSync(file, `${file}.${++rotations}`);
      reopened.push(output.reopen(file));
    }
    assert.equal(await flush(output, patienceMs), true);
    const files = [...Array.from({ length: rotations }, (_, i) => `${file}.${i + 1}`), file];
    assert.equal(files.map((name) => readFileSync(name, 'utf8')).join(''), lines.join(''));
    for (const name of files) assert.notEqual(readFileSync(name, 'utf8'), '');
  });
}

test('a file that cannot be opened again is an error for the caller, and the open one is kept', async () => {
  const file = path.join(folder, 'kept');
  const output = createLogOutput(openLogFile(file), { isShared: false });
  renameSync(file, `${file}.1`);
  mkdirSync(file);
  await assert.rejects(output.reopen(file), { code: 'EISDIR' });
  output.stream.write('line\n');
  assert.equal(await flush(output, patienceMs), true);
  assert.equal(readFileSync(`${file}.1`, 'utf8'), 'line\n');
});

test('a full disk does not make the end hang', async () => {
  for (const isShared of [false, true]) {
    const { output } = await openRefused(isShared);
    assert.equal(await output.end(300), true);
  }
});

test('a pipe that nobody reads does', async () => {
  const fifo = path.join(folder, 'fifo');
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  const fd = openSync(fifo, 'r+'); // not a reader that could be gone, and not an opening that waits
  const output = createLogOutput(fd, { isShared: false });
  output.stream.write(`${'x'.repeat(100_000)}\n`);
  await promisify(read)(fd, Buffer.alloc(1), 0, 1, null); // its write has begun, and is more than a pipe holds
  assert.equal(await output.end(300), false);
  readSync(fd, Buffer.alloc(100_000)); // the thread that writes is let go
});

test('lines that a full disk does not take go into the file that is opened after it', async () => {
  const { output, failures } = await openRefused(false);
  assert.equal(await flush(output, 300), false);
  assert.deepEqual(failures, ['ENOSPC']); // once, however often it was tried
  const file = path.join(folder, 'after-full');
  await output.reopen(file);
  assert.equal(await flush(output, patienceMs), true);
  assert.equal(readFileSync(file, 'utf8'), 'line\n');
});

test('a file is made for its owner and group, and what is in it stays', async () => {
  const file = path.join(folder, 'made');
  const umask = process.umask(0);
  closeSync(openLogFile(file));
  process.umask(umask);
  assert.equal(statSync(file).mode & 0o777, 0o640);
  const output = createLogOutput(openLogFile(file), { isShared: false });
  output.stream.write('first\n');
  await flush(output, patienceMs);
  const other = createLogOutput(openLogFile(file), { isShared: false });
  other.stream.write('second\n');
  assert.equal(await flush(other, patienceMs), true);
  assert.equal(readFileSync(file, 'utf8'), 'first\nsecond\n');
});
