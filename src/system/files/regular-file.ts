import { withOpenFile } from './file-status.ts';

/** More than any bundle of certificates has. */
const maxBytes = 4 * 1024 * 1024;

/**
 * Reads a small text file as Latin-1. Only a regular file: a FIFO would block, and a device such as /dev/zero would
 * fill the memory.
 * @throws Error of the system, or one whose `code` says what it is instead.
 */
export function readRegularFile(path: string): Promise<string> {
  return withOpenFile(path, async (file) => {
    const status = await file.stat();
    if (!status.isFile() && !status.isDirectory()) throw refused('not a regular file');
    if (status.size > maxBytes) throw refused(`larger than ${maxBytes / 1024 ** 2} MiB`);
    return file.readFile('latin1'); // EISDIR for a folder
  });
}

function refused(code: string): Error {
  return Object.assign(new Error(`it is ${code}`), { code });
}
