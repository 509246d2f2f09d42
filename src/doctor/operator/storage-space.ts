import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../failure.ts';
import { broken, ok, skipped, warning, type Finding } from '../finding.ts';

export const storageIds: StorageIds = ['storage.readable', 'storage.space'];
type StorageIds = readonly [readable: string, space: string];

/** Free and total space, in bytes and in files; null for files that are not counted. */
export type Space = {
  readonly freeBytes: number;
  readonly bytes: number;
  readonly freeFiles: number;
  readonly files: number;
};

const gibibyte = 1024 ** 3;

/** Checks the folder of upstream.storage, or of that of a route. */
export async function checkStorage(
  folder: string | null,
  [readable, space] = storageIds,
  key = 'upstream.storage',
): Promise<Finding[]> {
  if (folder === null) {
    return [
      skipped(readable, "upstream.storage is not set, so where the registry's files are is not known."),
    ];
  }
  return [judgeReadable(folder, await tryStorage(folder), readable, key), await checkSpace(folder, space)];
}

/** Null when the registry's files can be read, or do not exist yet; else the error's code. */
async function tryStorage(folder: string): Promise<string | null> {
  const registry = join(folder, 'docker/registry/v2');
  const failure = await tryRead(join(registry, 'blobs'));
  // A registry creates blobs/ when the first upload is complete, and its parent when one begins.
  return failure === 'ENOENT' ? await tryRead(registry) : failure;
}

/** Null if the folder can be entered and listed, else the error's code. */
async function tryRead(folder: string): Promise<string | null> {
  try {
    await access(folder, constants.R_OK | constants.X_OK);
    return null;
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
}

async function checkSpace(folder: string, check: string): Promise<Finding> {
  try {
    const { bavail, blocks, bsize, ffree, files } = await statfs(folder);
    const space = { freeBytes: bavail * bsize, bytes: blocks * bsize, freeFiles: ffree, files };
    return judgeSpace(folder, space, check);
  } catch (error) {
    return warning(
      check,
      `The file system of ${folder} cannot be asked for its space (${codeOf(error) ?? String(error)}).`,
      `df -h ${folder}`,
    );
  }
}

/** Judges whether the registry's files can be read from here; `failure` is a code, null for none. */
export function judgeReadable(
  folder: string,
  failure: string | null,
  check = storageIds[0],
  key = 'upstream.storage',
): Finding {
  if (failure === null) {
    return ok(
      check,
      `The registry's files in ${folder} can be read by this user.`,
      `whether the service may: sudo -u tidegate find ${folder} -type f -readable | head -3`,
    );
  }
  if (failure === 'ENOENT') {
    return warning(
      check,
      `There is no docker/registry/v2 in ${folder}: nothing has been pushed yet, or ${key} is wrong.`,
      `${key}: the registry's storage.filesystem.rootdirectory`,
    );
  }
  return warning(
    check,
    `The registry's files in ${folder} cannot be read (${failure}), so layers go through the registry.`,
    "make the service's user a member of the registry's group (SupplementaryGroups=, with that group)",
  );
}

/** Judges the free space on the images' disk. */
export function judgeSpace(
  folder: string,
  { freeBytes, bytes, freeFiles, files }: Space,
  check = storageIds[1],
): Finding {
  const shown = `${(freeBytes / gibibyte).toFixed(1)} GiB of ${(bytes / gibibyte).toFixed(1)} GiB are free where the images are (${folder})`;
  const fix = 'tidegate clean plan shows what a run would free; or take a larger disk';
  if (freeBytes < gibibyte / 4) return broken(check, `Only ${shown}: pushes fail.`, fix);
  if (files > 0 && freeFiles === 0)
    return broken(check, `No more files fit where the images are (${folder}).`, fix);
  if (isNearlyFull({ freeBytes, bytes })) return warning(check, `Only ${shown}.`, fix);
  if (files > 0 && freeFiles / files < 0.05)
    return warning(check, `Fewer than 5 % of the files that fit into ${folder} are left.`, fix);
  return ok(check, `${shown}.`);
}

export function isNearlyFull({ freeBytes, bytes }: Pick<Space, 'freeBytes' | 'bytes'>): boolean {
  return bytes > 0 && freeBytes / bytes < 0.1 && freeBytes < 20 * gibibyte;
}
