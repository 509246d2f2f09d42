import { constants } from 'node:fs';
import { link, open, readFile, readlink, realpath, rename, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../operator-error.ts';
import { editInPlace } from './in-place-file.ts';

const maxWaitMs = 5000;
const staleAfterMs = 60_000;
/** An edit that was delayed for longer (a suspended process) gives up, well before others may take over its lock. */
const maxHoldMs = 30_000;

/**
 * Replaces a file's content atomically: a crash leaves the old file, and of two simultaneous edits the second sees the
 * first one's result. The new content is written to `FILE.lock`, which is also the lock, and renamed onto the file.
 * Keeps mode and owner, gives a new file 0600, and follows a symbolic link. A file that can't be replaced is edited in
 * place.
 *
 * @param edit gets the old content (undefined: there is no file) and returns the new one
 * @param model a file whose mode and owner a new file gets, if it exists
 * @throws OperatorError when the file can't be written or another edit does not end within 5 s
 */
export async function replaceFile(
  file: string,
  edit: (old: Buffer | undefined) => Buffer,
  model?: string,
): Promise<void> {
  try {
    const target = await resolveTarget(file);
    const lock = `${target}.lock`;
    const handle = await acquire(lock, file).catch(async (error: unknown) => {
      if (isClosedFolder(error) && (await unlessMissing(stat(target)))?.isFile() === true) return null;
      throw error;
    });
    if (handle === null) {
      await editInPlace(target, edit);
      return;
    }
    try {
      await replaceLocked({ target, lock, handle, edit, model });
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperatorError(
      codeOf(error) === 'EROFS'
        ? `${file} cannot be changed (${reason}): it is mounted read-only here; change it where it comes from.`
        : `${file} cannot be changed: ${reason}.`,
      { cause: error },
    );
  }
}

async function replaceLocked({
  target,
  lock,
  handle,
  edit,
  model,
}: {
  target: string;
  lock: string;
  handle: FileHandle;
  edit: (old: Buffer | undefined) => Buffer;
  model: string | undefined;
}): Promise<void> {
  const lockedAtMs = Date.now();
  const own = await handle.stat();
  try {
    const old = await unlessMissing(stat(target));
    if (old && !old.isFile())
      throw new OperatorError(`${target} is not a regular file: it cannot be edited.`);
    await handle.writeFile(edit(old && (await readFile(target))));
    const like = old ?? (model === undefined ? undefined : await unlessMissing(stat(model)));
    if (like) {
      if (like.uid !== own.uid || like.gid !== own.gid) await handle.chown(like.uid, like.gid);
      await handle.chmod(like.mode & 0o7777);
    }
    await handle.sync();
    const current = await unlessMissing(stat(lock));
    if (current?.ino !== own.ino || Date.now() - lockedAtMs > maxHoldMs) {
      throw new OperatorError(`${target} was not changed: the edit was held up for too long. Try again.`);
    }
    await rename(lock, target).catch(async (error: unknown) => {
      if (!isMountedAlone(error)) throw error;
      await editInPlace(target, edit);
      await unlink(lock);
    });
  } catch (error) {
    if ((await unlessMissing(stat(lock)))?.ino === own.ino) await unlink(lock);
    throw error;
  }
  await syncFolder(dirname(target));
}

async function acquire(lock: string, file: string): Promise<FileHandle> {
  const giveUpAtMs = performance.now() + maxWaitMs;
  for (;;) {
    try {
      return await open(lock, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    await removeIfStale(lock);
    if (performance.now() > giveUpAtMs) {
      throw new OperatorError(
        `${file} is being edited by another process; if there is none (a crash), remove ${lock} or try again in a minute.`,
      );
    }
    await sleep(10 + Math.random() * 20);
  }
}

/**
 * Removes a lock that a crashed process left behind. Several processes may find it stale at once, and the slower must
 * not remove the faster's new lock. So the one that first links the stale file to a name made from its identity removes
 * it.
 */
async function removeIfStale(lock: string): Promise<void> {
  const found = await unlessMissing(stat(lock, { bigint: true }));
  if (found === undefined || Date.now() - Number(found.mtimeMs) < staleAfterMs) return;
  const claim = `${lock}.${found.ino}-${found.mtimeNs}`;
  try {
    await link(lock, claim);
  } catch (error) {
    if (codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const claimed = await stat(claim, { bigint: true });
  if (claimed.ino === found.ino && claimed.mtimeNs === found.mtimeNs) await unlink(lock);
  await unlink(claim);
}

/** Resolves the file of a path, even if the last link points to a missing one. */
async function resolveTarget(file: string): Promise<string> {
  const target = await unlessMissing(realpath(file));
  if (target !== undefined) return target;
  let linked: string;
  try {
    linked = await readlink(file);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    const folder = await unlessMissing(realpath(dirname(file)));
    if (folder === undefined) {
      throw new OperatorError(
        `${file} cannot be written: the folder ${dirname(file)} does not exist; create it first.`,
      );
    }
    return join(folder, basename(file));
  }
  return resolveTarget(resolve(dirname(file), linked));
}

/** Makes the rename itself survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function unlessMissing<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whether no new file may be created in a folder, which says nothing about existing ones. */
function isClosedFolder(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '');
}

/** Whether a file can't be replaced because it is a mount point, as when it is bound into a container by itself. */
function isMountedAlone(error: unknown): boolean {
  return ['EBUSY', 'EXDEV'].includes(codeOf(error) ?? '');
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
