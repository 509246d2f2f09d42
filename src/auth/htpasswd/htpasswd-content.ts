import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { describeReadError, readStatus, withOpenFile } from '../../system/file-status.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { decodeHtpasswd, maxHtpasswdBytes } from './htpasswd-text.ts';

/** The content of an htpasswd file. */
export type HtpasswdContent = {
  /** SHA-256 of the bytes, to detect other content. */
  readonly digest: string;
  /** As decodeHtpasswd returns it. */
  readonly text: string;
  /** The file's status; undefined if it may be the same for the next content. */
  readonly signature: string | undefined;
};

/** @throws Error that `describeReadError` puts in words: unreadable, not a regular file, or not an htpasswd text */
export async function readHtpasswdContent(path: string): Promise<HtpasswdContent> {
  return withOpenFile(path, async (file) => {
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    const before = await readStatus(file);
    const bytes = await readBounded(file, maxHtpasswdBytes + 1);
    const after = await readStatus(file);
    return {
      digest: createHash('sha256').update(bytes).digest('hex'),
      text: decodeHtpasswd(bytes),
      signature: after.isRecent || before.signature !== after.signature ? undefined : after.signature,
    };
  });
}

/** The error for the operator when an htpasswd file is needed and can't be read. */
export function explainReadError(path: string, error: unknown): OperatorError {
  const reason = describeReadError(error);
  return new OperatorError(
    reason === 'it does not exist'
      ? `The htpasswd file ${path} does not exist: create it with \`tidegate user add NAME --file ${path}\`.`
      : `The htpasswd file ${path} cannot be used: ${reason}.`,
  );
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
