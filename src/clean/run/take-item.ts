import { dirname, join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import type { DoorLock } from '../channel/doors.ts';
import { repositoryPath, tagPath, type Item, type LinkItem } from '../quarantine/item.ts';
import { leaveAlone } from '../quarantine/left-alone.ts';
import { findOutcome } from '../quarantine/recovery.ts';
import { readStatus } from '../scan/file-status.ts';
import { moveHeld } from './move-held.ts';
import type { RepositoryView } from './repository-view.ts';
import type { RunContext } from './run-context.ts';

/** Takes one thing under a lock that is held, and notes in the view what that changes. `stop`: nobody knows what became of it. */
export async function takeItem(
  context: RunContext,
  lock: DoorLock,
  { item, number }: { readonly item: Item; readonly number: number },
  view: RepositoryView,
): Promise<'taken' | 'left' | 'stop'> {
  switch (item.what) {
    case 'data':
      throw new Error('data is no link');
    case 'tag':
      await moveTag(context, lock, { item, number }, view);
      return 'taken';
    default:
      return deleteLink(context, lock, { item, number }, view);
  }
}

async function moveTag(
  context: RunContext,
  lock: DoorLock,
  numbered: { readonly item: Extract<Item, { what: 'tag' }>; readonly number: number },
  view: RepositoryView,
): Promise<void> {
  const { quarantine, folder, logger } = context;
  const { repository, tag, digest } = numbered.item;
  await moveHeld(context, lock, numbered);
  const path = join(folder.root, tagPath(repository, tag));
  for (const own of [dirname(path), path, join(path, 'current'), join(path, 'current/link')])
    view.own.add(own);
  view.tagNames.delete(tag);
  logger.info({ run: quarantine.run, what: 'tag', repository, tag, digest }, 'taken');
}

/** Has the registry delete it, and finds out on disk what became of it. */
async function deleteLink(
  { quarantine, folder, logger, leave, nowMs, clean }: RunContext,
  lock: DoorLock,
  { item, number }: { readonly item: LinkItem; readonly number: number },
  view: RepositoryView,
): Promise<'taken' | 'left' | 'stop'> {
  const { root } = folder;
  const { what, repository, digest } = item;
  const status = await (what === 'manifest'
    ? lock.deleteManifest(repository, digest)
    : lock.deleteBlob(repository, digest));
  if (status === null) {
    quarantine.tell(number, item, 'unknown');
    leave(repository, 'the registry did not say whether it had deleted something');
    await leaveAlone(folder, [repository], { untilMs: nowMs() + clean.grace, nowMs: nowMs() });
    return 'stop';
  }
  const outcome = await findOutcome(folder, quarantine.run, item);
  quarantine.tell(number, item, outcome, `the registry answered ${status}`);
  for (const file of item.files) {
    const path = join(root, file.path);
    view.own.add(dirname(path));
    // Of a manifest, distribution 3 deletes the one link, and 2.8 that of a blob of the same digest too.
    if (readStatus(path) === null) view.gone.add(path);
  }
  if (outcome === 'taken') {
    logger.info({ run: quarantine.run, what, repository, digest }, 'taken');
    return 'taken';
  }
  if (status === 202)
    throw new OperatorError(
      `The registry says that it deleted ${digest} from ${repository}, and ${root}/${repositoryPath(repository)} still has it: is another registry at upstream.url?`,
    );
  leave(`${repository}@${digest}`, `the registry answered ${status} when it was to delete it`);
  return 'left';
}
