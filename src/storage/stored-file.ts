import { constants } from 'node:fs';
import { open, readlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

/** O_NONBLOCK: opening a FIFO would wait for its writer. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** The reason why an existing file is not used. */
export class UnusableFileError extends Error {
  override readonly name = 'UnusableFileError';
}

/**
 * Opens a regular file below a folder for reading. O_NOFOLLOW checks only the last part of a path, so the kernel is
 * asked which file the descriptor refers to. This detects any symbolic link on the way, even if files are exchanged
 * meanwhile. The caller closes the handle.
 * @param realRoot the folder's path without symbolic links.
 * @param relativePath the file's path below it.
 * @throws UnusableFileError, or the operating system's error.
 */
export async function openStoredFile(
  realRoot: string,
  relativePath: string,
): Promise<{ handle: FileHandle; sizeBytes: number }> {
  const path = join(realRoot, relativePath);
  const handle = await open(path, openFlags);
  try {
    const actual = await readlink(`/proc/self/fd/${handle.fd}`);
    if (actual !== path) throw new UnusableFileError(`${path} is ${actual}`);
    const status = await handle.stat();
    if (!status.isFile()) throw new UnusableFileError(`${path} is not a regular file`);
    return { handle, sizeBytes: status.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
