import { lstatSync, type Stats } from 'node:fs';

/** The status of a file itself, not of what a symbolic link leads to. Null: there is none, nor a folder for it. */
export function readStatus(path: string): Stats | null {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return null;
    throw error;
  }
}
