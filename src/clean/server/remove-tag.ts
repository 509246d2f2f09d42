import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import type { Doors } from '../channel/doors.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import { tagPath } from '../quarantine/item.ts';
import { openQuarantine } from '../quarantine/quarantine.ts';
import { moveHeld } from '../run/move-held.ts';
import { readStoredLink } from '../scan/stored-links.ts';
import { withLock } from './with-lock.ts';

export type TagTarget = { readonly repository: string; readonly tag: string };

export type RemovalOptions = {
  readonly folder: CleanFolder;
  readonly doors: Doors;
  readonly version: string;
  readonly signal: AbortSignal;
};

/**
 * Moves a tag into the quarantine, as a run of its own, while nothing reaches its repository. Gives the run's name.
 *
 * @throws OperatorError when there is no such tag, or its repository stays in use. @throws DoorsError
 */
export async function removeTag(
  { folder, doors, version, signal }: RemovalOptions,
  { repository, tag }: TagTarget,
): Promise<string> {
  await doors.arrive();
  await doors.check();
  const digest = readTag(folder, repository, tag);
  const item = { what: 'tag', repository, tag, digest } as const;
  const quarantine = await openQuarantine(folder, { version, nowMs: Date.now() });
  try {
    const [number = 0] = await quarantine.intend([item]);
    await withLock(doors, [repository], signal, async (lock) => {
      if (readTag(folder, repository, tag) !== digest)
        throw new OperatorError(`${repository}:${tag} was pushed just now: it stays. Try again.`);
      await moveHeld({ quarantine, doors }, lock, { item, number });
    });
  } catch (error) {
    await quarantine.end('failed', (error as Error).message, Date.now());
    throw error;
  }
  await quarantine.end('done', null, Date.now());
  return quarantine.run;
}

function readTag({ root }: CleanFolder, repository: string, tag: string): string {
  const link = readStoredLink(join(root, tagPath(repository, tag), 'current/link'));
  if (link === null) throw new OperatorError(`There is no tag ${repository}:${tag}.`);
  if (link.digest === null)
    throw new OperatorError(
      `The tag ${repository}:${tag} stays: its file ${link.fault ?? 'holds no digest'}.`,
    );
  return link.digest;
}
