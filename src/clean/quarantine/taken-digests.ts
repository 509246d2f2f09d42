import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { CleanFolder } from './clean-folder.ts';
import { openForMore, readStateFile } from './state-file.ts';

/** That of 7 million manifests: a text of Node's is hardly longer. */
const maxBytes = 500 * 1024 * 1024;
const lineForm = /^sha256:[0-9a-f]{64}$/;

/**
 * Reads the digests of all manifests whose files were ever taken: before such a manifest is pushed again its bytes are put
 * back, since the registry may remember them.
 */
export async function readTakenDigests(folder: CleanFolder): Promise<string[]> {
  const text = (await readStateFile(pathOf(folder), maxBytes)) ?? '';
  return text.split('\n').filter((line) => lineForm.test(line));
}

/** Resolves when they are on disk. */
export async function addTakenDigests(folder: CleanFolder, digests: readonly string[]): Promise<void> {
  if (digests.length === 0) return;
  const path = pathOf(folder);
  const file = await openForMore(path);
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
