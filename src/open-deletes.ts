import { createDeleteTurns } from './delete-turns.ts';
import { createRepositoryActivity, type RepositoryActivity } from './repository-activity.ts';
import { createFreezer, type FreezeMember } from './repository-freezer.ts';
import { createRepositoryLocks, type RepositoryLocks } from './repository-locks.ts';

/** What a process that serves needs to keep deletes apart from the rest; it outlives a reload. */
export type Deletes = {
  readonly activity: RepositoryActivity;
  /** Gives a delete its repository for itself, in all processes. */
  readonly turns: RepositoryLocks;
};

/** Puts it together for a front door of one process. */
export function openOwnDeletes(): Deletes {
  const activity = createRepositoryActivity();
  const freezer = createFreezer();
  const member: FreezeMember = {
    freeze: (repository, id) => activity.freeze(repository, id, () => freezer.quiet(member, id)),
    thaw: (repository, id) => activity.thaw(repository, id),
  };
  freezer.join(member);
  return { activity, turns: createDeleteTurns(createRepositoryLocks(), freezer) };
}
