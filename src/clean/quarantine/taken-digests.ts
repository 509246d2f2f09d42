import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { CleanFolder } from './clean-folder.ts';
import { isErrno } from './disk.ts';

const lineForm = /^sha256:[0-9a-f]{64}$/;

/**
 * Reads the digests of all manifests whose files were ever taken: before such a manifest is pushed again its bytes are put
 * back, since the registry may remember them.
 */
export async function readTakenDigests(folder: CleanFolder): Promise<string[]> {
  try {
    return (await readFile(pathOf(folder), 'utf8')).split('\n').filter((line) => lineForm.test(line));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Resolves when they are on disk. */
export async function addTakenDigests(folder: CleanFolder, digests: readonly string[]): Promise<void> {
  if (digests.length === 0) return;
  const path = pathOf(folder);
  const file = await open(path, 'a', 0o640);
  try {
    const { size } = await file.stat();
    try {
      // The first end of a line closes one that a crash has cut off.
      await folder.disk.append(file, `\n${digests.join('\n')}\n`);
    } catch (error) {
      await truncate(path, size).catch(() => {});
      throw error;
    }
  } finally {
    await file.close();
  }
  await folder.disk.syncFolder(folder.path);
}

function pathOf(folder: CleanFolder): string {
  return join(folder.path, 'taken');
}
