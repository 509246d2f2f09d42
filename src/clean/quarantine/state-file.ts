import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { isErrno } from './disk.ts';

/*
 * The registry's user may put anything in the place of a file: opening a FIFO would wait for its writer, and a symbolic
 * link leads elsewhere.
 */
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
const appendFlags =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOFOLLOW |
  constants.O_NONBLOCK |
  constants.O_NOCTTY;

/** Reads a file as text. Null: there is none. @throws Error when it is no regular file, or longer */
export function readStateFile(path: string, maxBytes: number): Promise<string | null> {
  return readText(path, readFlags, maxBytes);
}

/** The same, of somebody else's, who may have put a symbolic link there. */
export function readForeignFile(path: string, maxBytes: number): Promise<string | null> {
  return readText(path, readFlags & ~constants.O_NOFOLLOW, maxBytes);
}

async function readText(path: string, flags: number, maxBytes: number): Promise<string | null> {
  let file: FileHandle;
  try {
    file = await open(path, flags);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
  try {
    const status = await file.stat();
    refuseOther(path, status.isFile());
    if (status.size > maxBytes) throw new Error(`${path} has more than ${maxBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Opens one for reading. @throws Error when it is no regular file */
export function openStateFile(path: string): number {
  const file = openSync(path, readFlags);
  try {
    refuseOther(path, fstatSync(file).isFile());
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Opens one for more at its end, and creates it if it is missing. @throws Error when it is no regular file */
export async function openForMore(path: string): Promise<FileHandle> {
  const file = await open(path, appendFlags, 0o640);
  try {
    refuseOther(path, (await file.stat()).isFile());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function refuseOther(path: string, isFile: boolean): void {
  if (!isFile) throw new Error(`${path} is not a regular file`);
}
