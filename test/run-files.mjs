// Runs these compiled test files in this very order, which `node --test` does not: it sorts them.
import fs from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { followFiles } from './file-times.mjs';

/** One more than the cores of the machines that this has to run on: files wait for limits of time about as long as they compute. */
const concurrency = 3;
/** A file that hangs is ended, and fails, instead of holding the run, in milliseconds. Set by the test of that alone. */
const longestFileMs = Number(process.env.LONGEST_TEST_FILE_MS ?? 600_000);
/** The one that may take longer makes a Debian first where none is kept, over the network: up to 300 s for that alone. */
const patientFile = { name: 'long/integration/systemd.test.js', longestMs: 1_000_000 };
const slowestShown = 10;
/** In characters: what a client prints ends with its reason, and may be long. */
const longestReason = 2000;

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('There is no such test file.');
  process.exit(1);
}
const canFollow = fs.existsSync('/proc/self/stat');
const limitOf = (file) => (file.endsWith(patientFile.name) ? patientFile.longestMs : longestFileMs);
const times = canFollow ? followFiles(files, limitOf) : null;
// The runner's own limit leaves what the file has started.
const counts = {};
const failures = [];
run({ files, concurrency, ...(canFollow ? {} : { timeout: Math.max(...files.map(limitOf)) }) })
  .on('test:fail', (failed) => {
    process.exitCode = 1;
    if (failed.details.error.failureType !== 'subtestsFailed') failures.push(describe(failed));
  })
  .on('test:diagnostic', ({ message, nesting }) => {
    const [, what, count] = /^(tests|suites|pass|fail|cancelled|skipped|todo) (\d+)$/.exec(message) ?? [];
    if (nesting === 0 && what !== undefined) counts[what] = Number(count);
  })
  .compose(spec)
  .on('end', () => {
    showSlowest();
    if (process.env.TEST_COUNTS)
      fs.writeFileSync(process.env.TEST_COUNTS, JSON.stringify({ ...counts, failures }));
  })
  .pipe(process.stdout);

/** What failed, where, and the beginning of why. */
function describe({ name, file, line, details }) {
  // The cause is a text where the runner itself failed the test, or something else than an Error was thrown.
  const message = details.error.cause?.message ?? details.error.message;
  const where = file === undefined ? '' : `${path.relative(process.cwd(), file)}:${line}: `;
  return `${where}${name}: ${String(message).slice(0, longestReason)}`;
}

function showSlowest() {
  if (times === null) return;
  const lines = times
    .finish()
    .slice(0, slowestShown)
    .map(
      ({ file, ms, isOver }) => `${(ms / 1000).toFixed(1).padStart(7)} s  ${file}${isOver ? ': hung' : ''}\n`,
    );
  process.stdout.write(`\nThe slowest files:\n${lines.join('')}`);
}
