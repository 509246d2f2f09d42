import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { run } from './processes.ts';

/** Makes the release of a checkout as it is, without git's and the change log's word; gives the package's file. */
export async function makeRelease(checkout: string, outDir: string): Promise<string> {
  const made = await run(process.execPath, ['release/release.mjs', '--draft', '--out', outDir], {
    cwd: checkout,
  });
  assert.equal(made.code, 0, made.stderr);
  const name = (await readdir(outDir)).find((each) => each.endsWith('.tgz')) ?? assert.fail(made.stdout);
  return path.join(outDir, name);
}
