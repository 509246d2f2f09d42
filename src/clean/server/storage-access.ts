import { access, constants, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { cleanFolderName } from '../quarantine/clean-folder.ts';
import { isErrno } from '../quarantine/disk.ts';
import { registryPath } from '../quarantine/item.ts';

/**
 * Checks that this process may do in the registry's storage what the registry may, and leaves nothing there that the
 * registry may not.
 *
 * @param root `upstream.storage`
 * @throws OperatorError when it may not, or it is no storage of a registry
 */
export async function checkStorageAccess(root: string): Promise<void> {
  await checkRoot(root);
  const { owner, folder } = await findOwner(root);
  const uid = process.getuid?.() ?? owner;
  const asOwner = `run it as the registry's user (id ${owner}), as deploy/tidegate-clean.service does`;
  try {
    for (const path of new Set([root, folder]))
      await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new OperatorError(
      `The user of this process (id ${uid}) may not write to ${root} (upstream.storage): ${asOwner}.`,
      { cause: error },
    );
  }
  if (uid === 0 && owner !== 0)
    throw new OperatorError(
      `This runs as root, and the registry's files in ${root} are not root's: ${asOwner}, so that the registry can read what it brings back.`,
    );
}

/** What a folder may hold into which a registry has stored nothing yet. */
const namesInNew: ReadonlySet<string> = new Set([cleanFolderName, 'lost+found']);

/** @throws OperatorError unless it is the folder of a registry, or may become that of a new one */
async function checkRoot(root: string): Promise<void> {
  try {
    await stat(join(root, registryPath));
    return;
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) return; // whether it may be read is looked at later
  }
  const names = await readdir(root).catch((error: unknown) => {
    if (isErrno(error, 'EACCES')) return [];
    throw noFolder(root, error);
  });
  const other = names.find((name) => !namesInNew.has(name));
  if (other !== undefined)
    throw new OperatorError(
      `There is no ${registryPath} in ${root} (upstream.storage), but ${printable(other)}: that is no registry's folder. ${whatToWrite}`,
    );
}

const whatToWrite = "Write the registry's storage.filesystem.rootdirectory there, as it is on this machine.";

function noFolder(root: string, cause: unknown): OperatorError {
  return new OperatorError(
    `There is no folder ${root} (upstream.storage). ${whatToWrite} A new registry creates it with the first push; before that, create it as the registry's user.`,
    { cause },
  );
}

/** The owner of what the registry keeps; of its folder while it keeps nothing yet. */
async function findOwner(root: string): Promise<{ owner: number; folder: string }> {
  for (const folder of [join(root, registryPath), root]) {
    try {
      return { owner: (await stat(folder)).uid, folder };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') continue;
      if (code !== 'EACCES') throw error;
      return { owner: (await stat(root)).uid, folder: root };
    }
  }
  throw noFolder(root, null);
}
