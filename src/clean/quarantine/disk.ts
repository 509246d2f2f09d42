import { link, lstat, mkdir, open, rename, unlink, writeFile, type FileHandle } from 'node:fs/promises';
import { removeTree } from './remove-tree.ts';

/** What changes files here. Tests end the process at each of these steps. */
export type Disk = {
  /** Creates a folder; false: it is there already. Its parent must exist. */
  readonly makeFolder: (path: string) => Promise<boolean>;
  /** Appends, and waits until it is on disk. */
  readonly append: (file: FileHandle, text: string) => Promise<void>;
  /** Creates a file with this content, mode and mtime, and waits until its content is on disk. */
  readonly create: (path: string, file: NewFile) => Promise<void>;
  /** Creates a file with this content, which a power cut may lose. */
  readonly createUnsynced: (path: string, content: string) => Promise<void>;
  readonly rename: (from: string, to: string) => Promise<void>;
  /** Gives a file a second name, which must be free. */
  readonly link: (from: string, to: string) => Promise<void>;
  readonly unlink: (path: string) => Promise<void>;
  readonly removeTree: (path: string) => Promise<void>;
  /** Waits until the names in a folder are on disk. */
  readonly syncFolder: (path: string) => Promise<void>;
};

export type NewFile = { readonly content: string; readonly mode: number; readonly mtimeMs: number | null };

export const disk: Disk = {
  makeFolder: async (path) => {
    try {
      await mkdir(path, 0o750);
      return true;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      throw error;
    }
  },
  append: async (file, text) => {
    await file.appendFile(text);
    await file.datasync();
  },
  create: async (path, { content, mode, mtimeMs }) => {
    const file = await open(path, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.chmod(mode);
      if (mtimeMs !== null) await file.utimes(mtimeMs / 1000, mtimeMs / 1000);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  createUnsynced: (path, content) => writeFile(path, content, { flag: 'wx', mode: 0o640 }),
  rename,
  link,
  unlink,
  removeTree,
  syncFolder: async (path) => {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
};

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

/** Whether there is anything under this path. Throws what does not tell. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/** Replaces a file: after a crash it holds the old content or the new one. */
export async function replaceFile(disk: Disk, path: string, content: string): Promise<void> {
  const temporary = `${path}.new`;
  await disk.removeTree(temporary);
  await disk.create(temporary, { content, mode: 0o640, mtimeMs: null });
  await disk.rename(temporary, path);
  await disk.syncFolder(path.slice(0, path.lastIndexOf('/')));
}
