import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

/** Some file systems keep times in units of two seconds: a file that changed more recently may change again unnoticed. */
const timestampGraceMs = 2500;

/** Opens a file for reading, and closes it after use. */
export async function withOpenFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  // O_NONBLOCK: open() must not wait for the writer of a FIFO in the file's place.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

export type FileStatus = {
  /** Differs when the file was replaced or changed. */
  readonly signature: string;
  /** Whether it changed so recently that it may change again with the same signature. */
  readonly isRecent: boolean;
};

/** The status of an open file. */
export async function readStatus(file: FileHandle): Promise<FileStatus> {
  const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs, ctimeMs } = await file.stat({ bigint: true });
  const changedAtMs = Math.max(Number(mtimeMs), Number(ctimeMs));
  return {
    signature: [dev, ino, size, mtimeNs, ctimeNs].join(':'),
    isRecent: Math.abs(Date.now() - changedAtMs) < timestampGraceMs,
  };
}

/** Whether a file could not be opened for lack of a descriptor, which says nothing about the file. */
export function isDescriptorShortage(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EMFILE' || code === 'ENFILE';
}

/**
 * Reads the status of these files together; for one that cannot be opened the reason counts. Files are opened, since
 * over NFS only open() asks the server. Null: no descriptor is left, and nothing is known.
 */
export async function readStatuses(paths: readonly string[]): Promise<FileStatus | null> {
  const statuses = await Promise.all(
    paths.map((path) =>
      withOpenFile(path, readStatus).catch((error: unknown) =>
        isDescriptorShortage(error) ? null : { signature: describeReadError(error), isRecent: false },
      ),
    ),
  );
  const known = statuses.filter((status) => status !== null);
  if (known.length < statuses.length) return null;
  return {
    signature: known.map(({ signature }) => signature).join('\n'),
    isRecent: known.some(({ isRecent }) => isRecent),
  };
}

/** Says why a file can't be read, as the end of a sentence. */
export function describeReadError(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'EACCES') return 'there is no permission to read it';
  return error instanceof Error ? error.message : String(error);
}
