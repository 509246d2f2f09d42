import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { exists, type Disk } from './disk.ts';
import { registryPath } from './item.ts';

/** The folder of the cleaner's state, beside `docker/` on the same file system. */
export type CleanFolder = {
  /** The storage's folder. */
  readonly root: string;
  readonly path: string;
  readonly disk: Disk;
};

/** Its name in the storage's folder. */
export const cleanFolderName = 'tidegate-clean';

/**
 * Opens it, and creates it at first.
 * @throws OperatorError when it cannot be the place of a quarantine
 */
export async function openCleanFolder(root: string, disk: Disk): Promise<CleanFolder> {
  const path = join(root, cleanFolderName);
  try {
    if (await disk.makeFolder(path)) await disk.syncFolder(root);
    for (const name of ['runs', 'purging'])
      if (await disk.makeFolder(join(path, name))) await disk.syncFolder(path);
    await refuseLinks(path);
    await refuseOtherFileSystem(root, path);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `The folder ${path} cannot be used: ${(error as Error).message}. The cleaner must run as the registry's user, and upstream.storage must be the registry's folder.`,
      { cause: error },
    );
  }
  return { root, path, disk };
}

/** A run that finds out only in the end would have taken the links, and no data. @throws OperatorError */
async function refuseOtherFileSystem(root: string, path: string): Promise<void> {
  const { dev } = await stat(join(path, 'runs'));
  for (const name of ['docker', `${registryPath}/repositories`, `${registryPath}/blobs`]) {
    const images = join(root, name);
    // A registry that has never got anything has no folder yet.
    if ((await exists(images)) && (await stat(images)).dev !== dev)
      throw new OperatorError(
        `${path} is on another file system than ${images}: nothing can be moved there in one step. Put both on one, or use clean.collector.`,
      );
  }
}

/** What is deleted or moved there must not be elsewhere. @throws OperatorError */
async function refuseLinks(path: string): Promise<void> {
  for (const folder of [path, join(path, 'runs'), join(path, 'purging')])
    if (!(await lstat(folder)).isDirectory())
      throw new OperatorError(
        `${folder} is not a folder but a file or a symbolic link, and none is followed: remove it.`,
      );
}

/** The name of a run. */
export const runForm = /^\d{8}-\d{6}-[0-9a-f]{4}$/;

/** The runs that are in quarantine. What else lies there is none. */
export async function listRuns({ path }: CleanFolder): Promise<string[]> {
  await refuseLinks(path);
  const entries = await readdir(join(path, 'runs'), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory() && runForm.test(entry.name)).map(({ name }) => name);
}

/** The folder of a run that is in quarantine. */
export function runFolder(folder: CleanFolder, run: string): string {
  return join(folder.path, 'runs', run);
}

/** Where a path of the storage lies once a run has taken it: the same path below `taken`. */
export function takenPath(folder: CleanFolder, run: string, path: string): string {
  return join(runFolder(folder, run), 'taken', path);
}

/**
 * Creates all missing folders down to this one, each known to its parent on disk.
 * @param path below the storage's folder
 */
export async function makeFolders({ root, disk }: CleanFolder, path: string): Promise<void> {
  let at = root;
  for (const part of path.split('/')) {
    const parent = at;
    at = join(at, part);
    if (await disk.makeFolder(at)) await disk.syncFolder(parent);
  }
}
