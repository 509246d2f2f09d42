// Compiles src/ and the tests to build/, only what has changed since the last time.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../src/quickstart/prepare.mjs';

const outDir = path.join(root, 'build');
/** What test/tsconfig.json compiles. */
const folders = ['src', 'test', 'torture'];

/** Gives the compiler's exit code. Its messages go to this process's output. */
export async function compileTests() {
  removeStale();
  // The compiler skips what it remembers to have written, even when somebody has deleted it since.
  if (outputIsMissing()) fs.rmSync(path.join(outDir, '.tsbuildinfo'), { force: true });
  return node('node_modules/typescript7/bin/tsc', '-p', 'test/tsconfig.json');
}

/** Runs Node in the checkout; gives its exit code. */
export function node(...command) {
  const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)));
}

/** The compiled test files, as paths below build/test, sorted. */
export function listTestFiles() {
  return list(path.join(outDir, 'test'))
    .filter((file) => file.endsWith('.test.js') && hasSource(path.join('test', file)))
    .sort();
}

/** Compiled tests of files that are gone must not run, nor be imported. */
function removeStale() {
  for (const folder of folders)
    for (const file of list(path.join(outDir, folder)).filter((name) => /\.js(\.map)?$/.test(name))) {
      if (!hasSource(path.join(folder, file.replace(/\.map$/, ''))))
        fs.rmSync(path.join(outDir, folder, file));
    }
}

function outputIsMissing() {
  return folders.some((folder) =>
    list(path.join(root, folder))
      .filter((file) => /(?<!\.d)\.tsx?$/.test(file))
      .some((file) => !fs.existsSync(path.join(outDir, folder, file.replace(/\.tsx?$/, '.js')))),
  );
}

const hasSource = (file) =>
  ['.ts', '.tsx'].some((ending) => fs.existsSync(path.join(root, file.replace(/\.js$/, ending))));

/** Every file below the folder, as a path in it. */
function list(folder) {
  if (!fs.existsSync(folder)) return [];
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)));
}
