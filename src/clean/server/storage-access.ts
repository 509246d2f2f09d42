import { access, constants, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';

/**
 * Checks that this process may do in the registry's storage what the registry may, and leaves nothing there that the
 * registry may not.
 *
 * @param root `upstream.storage`
 * @throws OperatorError when it may not
 */
export async function checkStorageAccess(root: string): Promise<void> {
  await createRoot(root);
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

/** Creates the folder as a registry does at the first push, if only the last part of its path is missing. */
async function createRoot(root: string): Promise<void> {
  const parent = await stat(dirname(root)).catch(() => null);
  // What root creates in another's folder would be closed to the registry.
  if (parent === null || (process.getuid?.() === 0 && parent.uid !== 0)) return;
  await mkdir(root).catch((error: unknown) => {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EEXIST', 'EACCES', 'EROFS'].includes(code)) throw error;
  });
}

/** The owner of what the registry keeps; of its folder while it keeps nothing yet. */
async function findOwner(root: string): Promise<{ owner: number; folder: string }> {
  for (const folder of [join(root, 'docker/registry/v2'), root]) {
    try {
      return { owner: (await stat(folder)).uid, folder };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') continue;
      if (code !== 'EACCES') throw error;
      return { owner: (await stat(root)).uid, folder: root };
    }
  }
  throw new OperatorError(
    `There is no folder ${root} (upstream.storage): write the registry's rootdirectory there, as it is on this machine.`,
  );
}
