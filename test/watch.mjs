// `npm run test:watch`: after each change compiles what has changed, and runs the tests that it touches.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureBuild, root } from '../src/quickstart/prepare.mjs';
import { PreparationError } from '../src/quickstart/step.mjs';
import { compileTests, listTestFiles, node } from './compile.mjs';

const watched = ['src', 'test', 'torture'];
/** An editor or git writes several files at once; this long after the first of them all are taken together. */
const settleMs = 150;

/** Never returns: Ctrl-C ends it. */
export async function watch(patterns) {
  removeTemporaryFolderAtEnd();
  process.env.TEST_CERTIFICATES = path.join(root, 'build/certificates');
  const changed = new Set();
  let wake = () => {};
  for (const folder of watched)
    fs.watch(path.join(root, folder), { recursive: true }, (_, name) => {
      if (!name || !/\.(ts|mjs)$/.test(name)) return;
      changed.add(path.join(folder, name));
      wake();
    });
  let underWay = Promise.resolve();
  // The terminal has told the tests as well: they are to end first.
  process.once('SIGINT', () => void underWay.then(() => process.exit(130)));
  if (patterns.length > 0) await (underWay = round(patterns, []));
  for (;;) {
    if (changed.size === 0) {
      console.log('\nWaiting for a change. Ctrl-C ends.');
      await new Promise((resolve) => (wake = resolve));
    }
    await delay(settleMs);
    const files = [...changed];
    changed.clear();
    await (underWay = round(patterns, files));
  }
}

/**
 * Tests that Ctrl-C ends leave their temporary folders behind: here all are in one, which goes when the tests have ended. Others may
 * write to it too, since some tests become another user.
 */
function removeTemporaryFolderAtEnd() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-')); // short: the paths of sockets in it have a limit
  fs.chmodSync(folder, 0o1777);
  process.env.TMPDIR = folder;
  process.on('exit', () => {
    // What is mounted below could be anything.
    const mounts = fs.existsSync('/proc/self/mounts') ? fs.readFileSync('/proc/self/mounts', 'utf8') : '';
    if (!mounts.includes(`${folder}/`)) fs.rmSync(folder, { recursive: true, force: true });
  });
}

async function round(patterns, changed) {
  const startedAtMs = performance.now();
  console.log(`\n${changed.join(', ')}`);
  try {
    const [code] = await Promise.all([compileTests(), ensureBuild()]);
    if (code !== 0) return;
  } catch (error) {
    if (!(error instanceof PreparationError)) throw error;
    console.error(error.message);
    return;
  }
  fs.mkdirSync(process.env.TEST_CERTIFICATES, { recursive: true });
  const files =
    patterns.length > 0
      ? listTestFiles().filter((file) => patterns.some((pattern) => file.includes(pattern)))
      : findTouched(changed);
  if (files.length === 0) console.log('No test of a unit imports that: name test files, as in "-- cache".');
  else await node('--enable-source-maps', 'test/run-files.mjs', ...files.map((file) => `build/test/${file}`));
  console.log(`${files.length} files in ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s.`);
}

/** The tests among the changed files, and those of units that import one of them, over however many files. */
function findTouched(changed) {
  const outputs = new Set(changed.map((file) => path.join(root, 'build', file.replace(/\.tsx?$/, '.js'))));
  const imports = new Map();
  const reaches = (file, seen) => {
    if (outputs.has(file)) return true;
    if (seen.has(file)) return false;
    seen.add(file);
    if (!imports.has(file)) imports.set(file, readImports(file));
    return imports.get(file).some((next) => reaches(next, seen));
  };
  return listTestFiles().filter((file) => {
    const output = path.join(root, 'build/test', file);
    return outputs.has(output) || (file.startsWith(`unit${path.sep}`) && reaches(output, new Set()));
  });
}

function readImports(file) {
  const text = fs.statSync(file, { throwIfNoEntry: false })?.isFile() ? fs.readFileSync(file, 'utf8') : '';
  const named = text.matchAll(/^(?:import|export)\b(?:[^;'"]*\bfrom)?\s*['"](\.[^'"]+)['"]/gm);
  return [...named].map(([, name]) => path.resolve(path.dirname(file), name));
}
