import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A file to write; without `replace` an existing file is an EEXIST error, and never overwritten. */
export type PendingFile = { path: string; content: string; mode: number; replace: boolean };

/**
 * Writes files of one folder, each atomically. All contents are on disk under temporary names, with their final mode
 * from the first byte, before the first file is renamed. They are renamed in the given order.
 */
export async function writeFileSet(folder: string, files: readonly PendingFile[]): Promise<void> {
  const temporary: string[] = [];
  try {
    for (const file of files) {
      const name = join(dirname(file.path), `.${basename(file.path)}.${randomBytes(6).toString('hex')}.tmp`);
      temporary.push(name);
      const handle = await open(name, 'wx', file.mode);
      try {
        await handle.writeFile(file.content);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    for (const [index, file] of files.entries()) {
      // rename(2) would replace a file that another process has just made; link(2) refuses.
      await (file.replace ? rename : link)(temporary[index] ?? '', file.path);
    }
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } finally {
    await Promise.all(temporary.map((name) => rm(name, { force: true })));
  }
}
