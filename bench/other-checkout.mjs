import fs from 'node:fs';
import path from 'node:path';
import { run } from '../src/quickstart/step.mjs';

/**
 * Makes the other checkout's program, from its source and with its packages.
 * @param {string} checkout
 */
export async function buildOther(checkout) {
  if (!fs.existsSync(path.join(checkout, 'node_modules')))
    throw new Error(`${checkout} has no packages: run "npm ci" there.`);
  await run('npm', ['run', '--silent', 'build'], { cwd: checkout });
}
