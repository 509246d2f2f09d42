import { access, constants, readdir, realpath } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { digestForm } from '../registry/names/digest.ts';
import type { BlobName } from '../registry/operation.ts';
import { sendFilePart, type FilePart, type FileTransfer } from './file-transfer.ts';
import { createReadBuffers } from './read-buffers.ts';
import { openStoredFile } from './stored-file.ts';

/** A blob's bytes, open for reading. */
export type StoredBlob = {
  readonly sizeBytes: number;
  /** Sends a part of it as the body of an answer whose head is written. */
  send(res: ServerResponse, part: FilePart): FileTransfer;
  /** Call it once, after the transfer has ended. */
  close(): Promise<void>;
};

/** The folder in which a registry keeps its images, read only. */
export type BlobStorage = {
  /** Opens a blob of the repository; null: ask upstream. */
  open(name: BlobName): Promise<StoredBlob | null>;
  /** Finds the digest that a tag names; null: it is not there, or cannot be read. */
  findTag(repository: string, tag: string): Promise<string | null>;
};

export type BlobStorageOptions = {
  /** The registry's root directory, which contains docker/registry/v2. */
  readonly root: string;
  readonly now: () => number;
  readonly logger: Pick<Logger, 'debug' | 'warn'>;
};

const layout = 'docker/registry/v2';
/** The longest content of a link, "sha512:" and 128 digits, plus one byte to detect a longer one. */
const linkBytes = 136;
const warningIntervalMs = 60_000;

/**
 * Reads distribution's file system layout. Remembers nothing: a blob that is deleted or garbage-collected is gone with
 * the next request.
 */
export function createBlobStorage({ root, now, logger }: BlobStorageOptions): BlobStorage {
  const buffers = createReadBuffers();
  let quietUntilMs = -Infinity;

  const open = async (name: BlobName): Promise<StoredBlob | null> => {
    try {
      // The root itself may be a symbolic link, and may appear or be replaced at run time.
      const realRoot = await realpath(root);
      if (!(await isLinked(realRoot, name))) return null;
      const { algorithm, hex } = name;
      const file = `${layout}/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`;
      const { handle, sizeBytes } = await openStoredFile(realRoot, file);
      return {
        sizeBytes,
        send: (res, part) => sendFilePart(res, handle, part, buffers),
        close: () => handle.close().catch(() => {}), // only reading, so a failed close loses nothing
      };
    } catch (error) {
      report(error as NodeJS.ErrnoException);
      return null;
    }
  };

  const report = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EACCES' || now() < quietUntilMs) {
      logger.debug({ reason: error.message }, 'a blob is not read from upstream.storage');
      return;
    }
    quietUntilMs = now() + warningIntervalMs;
    logger.warn({ reason: error.message }, `blobs cannot be read from upstream.storage: ${permissionHint}`);
  };

  const findTag = async (repository: string, tag: string): Promise<string | null> => {
    try {
      const link = `${layout}/repositories/${repository}/_manifests/tags/${tag}/current/link`;
      const digest = await readLink(await realpath(root), link);
      return digestForm.test(digest) ? digest : null;
    } catch (error) {
      report(error as NodeJS.ErrnoException);
      return null;
    }
  };

  return { open, findTag };
}

/** Whether the repository has the blob: its link holds exactly the digest. */
async function isLinked(realRoot: string, { repository, algorithm, hex }: BlobName): Promise<boolean> {
  const link = `${layout}/repositories/${repository}/_layers/${algorithm}/${hex}/link`;
  return (await readLink(realRoot, link)) === `${algorithm}:${hex}`;
}

async function readLink(realRoot: string, link: string): Promise<string> {
  const { handle } = await openStoredFile(realRoot, link);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(linkBytes), 0, linkBytes, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

const permissionHint =
  'give the user that Tidegate runs as the right to read it, as by the group of its files';

/** Checks that the storage is usable. Returns a sentence that says what to do, or null. Never throws. */
export async function findStorageFault(root: string): Promise<string | null> {
  const offUntil = 'Until then blobs come through upstream.';
  try {
    const realRoot = await realpath(root);
    const entries = await readdir(realRoot);
    // The cleaner's folder may be there before anything has been pushed.
    if (entries.every((entry) => entry === 'tidegate-clean')) return null;
    const blobs = join(realRoot, layout, 'blobs');
    const actual = await realpath(blobs);
    if (actual !== blobs) {
      return `upstream.storage ${root} has a symbolic link in ${layout}/blobs, and none is followed: mount the other folder there instead. ${offUntil}`;
    }
    await access(blobs, constants.R_OK | constants.X_OK);
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES') return `upstream.storage ${root} cannot be read: ${permissionHint}. ${offUntil}`;
    if (code === 'ENOENT')
      return `upstream.storage ${root} has no ${layout}/blobs in it: name the registry's storage.filesystem.rootdirectory. ${offUntil}`;
    return `upstream.storage ${root} cannot be used: ${message}. ${offUntil}`;
  }
}
