// Runs these compiled test files in this very order, which `node --test` does not: it sorts them.
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** One more than the cores of the machines that this has to run on: files wait for limits of time about as long as they compute. */
const concurrency = 3;
/** A file that hangs ends the run instead of holding it, in milliseconds. */
const longestFileMs = 300_000;

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('There is no such test file.');
  process.exit(1);
}
run({ files, concurrency, timeout: longestFileMs })
  .on('test:fail', () => (process.exitCode = 1))
  .compose(spec)
  .pipe(process.stdout);
