import {
  closeSync,
  constants,
  opendirSync,
  openSync,
  readSync,
  statSync,
  type Stats,
  type Dirent,
} from 'node:fs';
import { readStatus } from './file-status.ts';
import { isWrittenDigest } from './storage-paths.ts';

/** A link of the registry's: a file `link` whose content is a digest. */
export type StoredLink = {
  /** Null: unreadable. */
  readonly digest: string | null;
  readonly mtimeMs: number;
  /** What is wrong with it; null: nothing. */
  readonly fault: string | null;
};

/** More than the longest content that is read as a digest. */
const buffer = Buffer.allocUnsafeSlow(512);
/** O_NONBLOCK: opening a FIFO would wait for its writer. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Reads a link. Null: there is none; to the registry a broken symbolic link and a file in the place of a folder are
 * none either. Follows symbolic links, as the registry does, since what it would find is in use.
 */
export function readStoredLink(path: string): StoredLink | null {
  let mtimeMs = 0;
  try {
    const own = readStatus(path);
    if (own === null) return null;
    mtimeMs = own.mtimeMs;
    let status: Stats = own;
    let fault: string | null = null;
    if (own.isSymbolicLink()) {
      status = statSync(path);
      mtimeMs = Math.max(mtimeMs, status.mtimeMs);
      fault = 'is a symbolic link';
    }
    if (!status.isFile()) return { digest: null, mtimeMs, fault: 'is not a regular file' };
    if (status.size === 0) return { digest: null, mtimeMs, fault: 'is empty' };
    if (status.size >= buffer.length) return { digest: null, mtimeMs, fault: 'is too large' };
    const text = readStart(path);
    if (!isWrittenDigest(text)) return { digest: null, mtimeMs, fault: 'holds no digest' };
    return { digest: text, mtimeMs, fault };
  } catch (error) {
    return { digest: null, mtimeMs, fault: sayUnreadable(error) };
  }
}

function readStart(path: string): string {
  const fd = openSync(path, openFlags);
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0));
  } finally {
    closeSync(fd);
  }
}

export function sayUnreadable(error: unknown): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  return `cannot be read (${code})`;
}

/** Reads a folder entry by entry; of one that is missing none. */
export function* readFolder(path: string): Generator<Dirent> {
  const folder = openFolder(path);
  if (folder === null) return;
  try {
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) yield entry;
  } finally {
    folder.closeSync();
  }
}

function openFolder(path: string) {
  try {
    return opendirSync(path, { bufferSize: 256 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
