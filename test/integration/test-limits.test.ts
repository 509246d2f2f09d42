import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { until } from '../support/redis.ts';

const needsProc = existsSync('/proc/self/stat') ? false : 'needs /proc';

describe('the run of the test files', { skip: needsProc, timeout: 360_000 }, () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-'));
  });
  after(() => rm(dir, { recursive: true }));

  test('a file that hangs is named and ended with all it has started, and the others run', async () => {
    const pidFile = path.join(dir, 'pid');
    const hanging = path.join(dir, 'hanging.test.mjs');
    const quick = path.join(dir, 'quick.test.mjs');
    await writeFile(hanging, hangingTest(pidFile));
    await writeFile(quick, `import { test } from 'node:test';\ntest('quick one', () => {});\n`);
    const { code, output } = await runFiles([hanging, quick], 3000);
    assert.equal(code, 1);
    assert.match(output, /hanging\.test\.mjs took longer than 3 s, and is ended\./);
    assert.match(output, /✔ quick one/);
    assert.match(output, /The slowest files:\n +[\d.]+ s {2}\S*hanging\.test\.mjs: hung\n/);
    const pid = await readFile(pidFile, 'utf8');
    await until('what the file has started is gone', async () => !(await isAlive(pid)));
  });

  test('what fails is told with its place and reason at the end, without the suites it belongs to', async () => {
    const failing = path.join(dir, 'failing.test.mjs');
    await writeFile(
      failing,
      `import { describe, test } from 'node:test';
describe('a suite', () => {
  test('a good one', () => {});
  test('a bad one', () => { throw new Error('this is why'); });
  test('a worse one', () => { throw 'a mere text'; });
});
`,
    );
    const countsFile = path.join(dir, 'counts.json');
    const { code } = await runFiles([failing], 60_000, { TEST_COUNTS: countsFile });
    assert.equal(code, 1);
    const { failures, ...counts } = JSON.parse(await readFile(countsFile, 'utf8')) as Record<string, unknown>;
    assert.equal(counts['fail'], 2);
    const file = path.relative('.', failing);
    assert.deepEqual(failures, [`${file}:4: a bad one: this is why`, `${file}:5: a worse one: a mere text`]);
  });
});

/** Its child leads a group of its own, as servers do that are put into the background. */
function hangingTest(pidFile: string): string {
  return `import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
test('hangs', async () => {
  const child = spawn('sleep', ['100'], { detached: true, stdio: 'ignore' });
  writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
  await new Promise((resolve) => child.once('exit', () => {}));
});
`;
}

function runFiles(
  files: readonly string[],
  limitMs: number,
  given: NodeJS.ProcessEnv = {},
): Promise<{ code: unknown; output: string }> {
  // A run within a run would take itself for a part of it.
  const env: NodeJS.ProcessEnv = { ...process.env, ...given, LONGEST_TEST_FILE_MS: String(limitMs) };
  delete env['NODE_TEST_CONTEXT'];
  const options = { env };
  return new Promise((resolve) => {
    execFile(process.execPath, ['test/run-files.mjs', ...files], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, output: stdout + stderr });
    });
  });
}

/** Whether it runs: one that has ended, and that nobody has waited for yet, does not. */
async function isAlive(pid: string): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  return stat !== null && !stat.includes(') Z ');
}
