import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import type { Doors } from '../channel/doors.ts';
import { exists } from '../quarantine/disk.ts';
import { registryPath } from '../quarantine/item.ts';

const maxAnswerBytes = 65_536;

/**
 * Whether anything was ever pushed to the registry whose folder this is.
 *
 * @throws OperatorError when something was, and came elsewhere. @throws DoorsError
 */
export async function hasRegistryFiles(
  root: string,
  doors: Pick<Doors, 'arrive' | 'request'>,
): Promise<boolean> {
  if (await exists(join(root, registryPath, 'repositories'))) return true;
  await doors.arrive();
  const { status, bodyBase64 } = await doors.request({
    ...{ method: 'GET', rawTarget: '/v2/_catalog?n=1', headers: {}, maxBytes: maxAnswerBytes },
  });
  if (status === 200 && isEmptyCatalog(Buffer.from(bodyBase64, 'base64').toString())) return false;
  throw new OperatorError(
    `There is no ${registryPath}/repositories in ${root} (upstream.storage), and the registry at upstream.url is not empty: its images are elsewhere. Write its storage.filesystem.rootdirectory there, as it is on this machine.`,
  );
}

function isEmptyCatalog(text: string): boolean {
  try {
    const { repositories } = JSON.parse(text) as { repositories?: unknown };
    return repositories === null || (Array.isArray(repositories) && repositories.length === 0);
  } catch {
    return false;
  }
}
