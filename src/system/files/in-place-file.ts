import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeName, type NameLock } from './name-lock.ts';
import { OperatorError } from '../operator-error.ts';

const maxWaitMs = 5000;

/**
 * Edits a file that can't be replaced: one that is mounted by itself, or whose folder is not writable. Overwrites the
 * old content, as Apache's htpasswd does.
 *
 * Of two simultaneous edits the second sees the first one's result, if both run on the same machine or in the same
 * container. The lock is a name in the kernel (an abstract socket of the network namespace), since there may be no
 * place for a file, and ends with its process. A crash may leave blank lines at the end, and a power cut during the
 * write a mixture.
 * @throws OperatorError when another edit does not end within 5 s, or the file was replaced meanwhile
 */
export async function editInPlace(target: string, edit: (old: Buffer) => Buffer): Promise<void> {
  const { dev, ino } = await stat(target, { bigint: true });
  const lock = await acquireName(`tidegate-edit-${dev}-${ino}`, target);
  try {
    const file = await open(target, constants.O_RDWR);
    try {
      const own = await file.stat({ bigint: true });
      const old = await file.readFile();
      await overwrite(file, old, edit(old));
      if ((await stat(target, { bigint: true })).ino !== own.ino)
        throw new OperatorError(`${target} was replaced by another program meanwhile: try again.`);
    } finally {
      await file.close();
    }
  } finally {
    await lock.release();
  }
}

/**
 * At every moment the file has the old or the new content, perhaps with blank lines behind it; a failed write is
 * undone.
 */
async function overwrite(file: FileHandle, old: Buffer, content: Buffer): Promise<void> {
  const blank = (bytes: number) => Buffer.alloc(Math.max(0, bytes), '\n');
  try {
    // Reserves the room first: a full disk must not stop the write in the middle.
    await writeAll(file, blank(content.length - old.length), old.length);
    await file.sync();
    // Overwrites the whole length of the old content: none of its last lines ever remains.
    await writeAll(file, Buffer.concat([content, blank(old.length - content.length)]), 0);
    await file.sync();
    await file.truncate(content.length);
    await file.sync();
  } catch (error) {
    await writeAll(file, old, 0);
    await file.truncate(old.length);
    throw error;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, from: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done, from + done)).bytesWritten;
  }
}

async function acquireName(name: string, target: string): Promise<NameLock> {
  if (process.platform !== 'linux')
    throw new OperatorError(`${target} cannot be replaced, and is edited in place on Linux only.`);
  const giveUpAtMs = performance.now() + maxWaitMs;
  for (;;) {
    const lock = await takeName(name);
    if (lock !== null) return lock;
    if (performance.now() > giveUpAtMs)
      throw new OperatorError(`${target} is being edited by another process: try again when it has ended.`);
    await sleep(10 + Math.random() * 20);
  }
}
