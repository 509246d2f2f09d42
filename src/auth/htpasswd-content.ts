import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { OperatorError } from '../operator-error.ts';
import { decodeHtpasswd, maxHtpasswdBytes } from './htpasswd.ts';

/** Some file systems keep times to two seconds: a file changed more recently may change again unseen. */
const timestampGraceMs = 2500;

/** What an htpasswd file held when it was read. */
export type HtpasswdContent = {
  /** SHA-256 of the bytes, to tell whether other content has come. */
  readonly digest: string;
  readonly text: string;
  /** The file's status, as {@link readSignature} gives it; undefined when it may not tell this content from the next. */
  readonly signature: string | undefined;
};

/** @throws Error that {@link describeReadError} puts in words: unreadable, not a regular file, or not an htpasswd text */
export async function readHtpasswdContent(path: string): Promise<HtpasswdContent> {
  return withOpenFile(path, async (file) => {
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    const before = await readStatus(file);
    const bytes = await readBounded(file, maxHtpasswdBytes + 1);
    const after = await readStatus(file);
    const isRecent = Math.abs(Date.now() - after.changedAtMs) < timestampGraceMs;
    return {
      digest: createHash('sha256').update(bytes).digest('hex'),
      text: decodeHtpasswd(bytes),
      signature: isRecent || before.signature !== after.signature ? undefined : after.signature,
    };
  });
}

/** A text that differs when the file at this path is another, has changed, or can't be opened; opened, since over NFS only open() asks the server. */
export async function readSignature(path: string): Promise<string> {
  try {
    return (await withOpenFile(path, readStatus)).signature;
  } catch (error) {
    return describeReadError(error);
  }
}

/** The error for the operator when an htpasswd file is needed and can't be read. */
export function explainReadError(path: string, error: unknown): OperatorError {
  return new OperatorError(
    errorCode(error) === 'ENOENT'
      ? `The htpasswd file ${path} does not exist: create it with \`tidegate user add NAME --file ${path}\`.`
      : `The htpasswd file ${path} cannot be used: ${describeReadError(error)}.`,
  );
}

/** Why a file can't be read, as the end of a sentence. */
export function describeReadError(error: unknown): string {
  const code = errorCode(error);
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'EACCES') return 'there is no permission to read it';
  return error instanceof Error ? error.message : String(error);
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

async function withOpenFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  // O_NONBLOCK: a FIFO in the file's place must not make open() wait for its writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function readStatus(file: FileHandle): Promise<{ signature: string; changedAtMs: number }> {
  const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs, ctimeMs } = await file.stat({ bigint: true });
  const signature = [dev, ino, size, mtimeNs, ctimeNs].join(':');
  return { signature, changedAtMs: Math.max(Number(mtimeMs), Number(ctimeMs)) };
}

async function readBounded(file: FileHandle, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  while (total < maxBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(65536, maxBytes - total));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    total += bytesRead;
  }
  return Buffer.concat(chunks);
}
