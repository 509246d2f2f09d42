import type { Logger } from 'pino';
import { unsettledMs } from '../../locks/repository-locks.ts';
import type { InternalRequest } from '../../upstream/request.ts';
import { createTimeLimit } from '../../system/time-limit.ts';
import { withDeleteLock, type DeleteLock } from './delete-lock.ts';
import type { NotedRemoval, RemovalJournal } from './removal-journal.ts';
import type { TagRemoval } from './tag-removal.ts';

/** Brings removals to their end that were interrupted: by a registry that went away, or an end of this process. */
export type RemovalFinisher = {
  /** Tries all that are noted, once, for `limitMs` at most; what is left is tried again later. Never rejects. */
  readonly run: (limitMs: number) => Promise<void>;
  /** Tries them soon. */
  readonly soon: () => void;
  readonly close: () => void;
};

export type RemovalFinisherOptions = {
  readonly journal: RemovalJournal;
  readonly finish: TagRemoval['finish'];
  readonly lock: DeleteLock;
  /** The URL of the registry whose removals it finishes. */
  readonly registry: string;
  readonly headers: InternalRequest['headers'];
  readonly logger: Pick<Logger, 'warn' | 'info'>;
};

/** The pause before the next try, in milliseconds: twice as long after each that did not finish all, and the longest after one that did. */
const firstPauseMs = 1000;
const maxPauseMs = 60_000;
/** How long one try may take, in milliseconds. */
const tryLimitMs = 60_000;

export function createRemovalFinisher(options: RemovalFinisherOptions): RemovalFinisher {
  const { journal, finish, lock, registry, headers, logger } = options;
  const closing = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = firstPauseMs;

  /** Whether it has ended. */
  const finishOne = async (removal: NotedRemoval, signal: AbortSignal): Promise<boolean> => {
    const { repository, tag, ageMs } = removal;
    const { digest } = removal.tombstone;
    try {
      const end = await withDeleteLock(lock, repository, signal, async (acting) => {
        // While another process held the lock, it may have come to its end.
        if (!(await journal.has(digest))) return 'ended';
        await finish(removal, headers, acting);
        // What the interrupted process sent last, the registry may still execute.
        if (ageMs < unsettledMs) return 'unsettled';
        await journal.forget(digest);
        logger.info({ repository, tag }, 'finished the removal of a tag that was interrupted');
        return 'ended';
      });
      if (end !== 'ended' && end !== 'unsettled')
        logger.info({ repository, tag, lock: end }, 'the removal of a tag waits for its repository');
      return end === 'ended';
    } catch (error) {
      if (!closing.signal.aborted)
        logger.warn(
          { why: error instanceof Error ? error.message : String(error), repository, tag },
          'the removal of a tag is not finished yet: it is tried again',
        );
      return false;
    }
  };

  const tryAll = async (limitMs: number): Promise<boolean> => {
    const noted = await journal.list().catch((error: unknown) => {
      logger.warn({ err: error }, 'the removals of tags in state.dir cannot be read');
      return [];
    });
    const own = noted.filter((each) => each.registry === registry);
    if (own.length === 0) return true;
    const limit = createTimeLimit(closing.signal, limitMs);
    let isDone = true;
    for (const removal of own) isDone = (await finishOne(removal, limit.signal)) && isDone;
    limit.end();
    return isDone;
  };

  const schedule = (nextMs: number) => {
    clearTimeout(timer);
    if (!closing.signal.aborted) timer = setTimeout(() => void run(tryLimitMs), nextMs).unref();
  };
  const run: RemovalFinisher['run'] = async (limitMs) => {
    const isDone = await tryAll(limitMs);
    pauseMs = isDone ? firstPauseMs : Math.min(2 * pauseMs, maxPauseMs);
    // Also one that another process has left.
    schedule(isDone ? maxPauseMs : pauseMs);
  };

  return {
    run,
    soon: () => schedule(firstPauseMs),
    close: () => {
      clearTimeout(timer);
      closing.abort();
    },
  };
}
