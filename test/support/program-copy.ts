import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './processes.ts';

/** What is taken out of a copy of the program. `file`: below dist/. */
export type Omission = { readonly file: string; readonly from: string; readonly to: string };

export type ProgramCopy = {
  /** A command prefix that starts the copy in place of the program that it is told to start. */
  readonly within: readonly string[];
  /** Loads one of its files. The caller says what it is. */
  load(file: string): Promise<unknown>;
  remove(): Promise<void>;
};

/** Copies the program without what keeps a promise, so that a test can show that it fails then. */
export async function copyProgram(omissions: readonly Omission[]): Promise<ProgramCopy> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-omission-'));
  const remove = () => rm(dir, { recursive: true, force: true });
  try {
    await cp(path.join(root, 'dist'), path.join(dir, 'dist'), { recursive: true });
    await cp(path.join(root, 'package.json'), path.join(dir, 'package.json'));
    await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
    for (const { file, from, to } of omissions) {
      const at = path.join(dir, 'dist', file);
      const source = await readFile(at, 'utf8');
      assert.ok(source.includes(from), `${file} has changed: ${from}`);
      await writeFile(at, source.replace(from, to));
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    within: ['sh', '-c', `node=$1; shift 2; exec "$node" ${dir}/dist/main.js "$@"`, 'sh'],
    load: (file) => import(pathToFileURL(path.join(dir, 'dist', file)).href),
    remove,
  };
}
