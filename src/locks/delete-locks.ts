import type { Freeze, Freezer } from './repository-freezer.ts';
import type { LockRefusal, RepositoryLock, RepositoryLocks } from './repository-locks.ts';

/**
 * How long the first try holds the repository, in milliseconds: most requests in progress end within it. Each further
 * try is twice as long, up to `maxHoldMs`. That is longer than an aborted request counts as in progress
 * (`unsettledMs`), so nobody can delay a delete by aborting requests.
 */
const firstHoldMs = 50;
const maxHoldMs = 4000;
/** The longest pause after a freeze that became quiet, in milliseconds; normally as long as the freeze. */
const maxPauseMs = 1000;

/**
 * Runs a delete alone in its repository: after earlier deletes, and when no conflicting request is in progress in any
 * process. Held requests go first afterwards, for at least as long as they were held.
 * @param queue locks of deletes only, one per repository
 */
export function createDeleteLocks(queue: RepositoryLocks, freezer: Freezer): RepositoryLocks {
  return {
    acquire: async (repository, wish) => {
      const untilMs = performance.now() + wish.waitMs;
      const place = await queue.acquire(repository, wish);
      if (typeof place === 'string') return place;
      const freeze = await tryFreezes(freezer, repository, untilMs, wish.signal);
      if (typeof freeze === 'string') {
        place.release();
        return freeze;
      }
      const lock = join(place, freeze);
      if (await lock.isHeld()) return lock;
      lock.release();
      return 'unavailable';
    },
  };
}

async function tryFreezes(
  freezer: Freezer,
  repository: string,
  untilMs: number,
  signal: AbortSignal,
): Promise<Freeze | LockRefusal> {
  for (let holdMs = firstHoldMs; ; holdMs = Math.min(2 * holdMs, maxHoldMs)) {
    if (signal.aborted) return 'gone';
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return 'late';
    const hold = Math.min(holdMs, leftMs);
    const freeze = freezer.freeze(repository, hold);
    if (await isReached(freeze, hold, signal)) return freeze;
    freeze.thaw();
    // Held requests go first.
    await pause(Math.min(holdMs, untilMs - performance.now()), signal);
  }
}

async function isReached({ quiet }: Freeze, holdMs: number, signal: AbortSignal): Promise<boolean> {
  const over = new AbortController();
  const isQuiet = quiet.then(() => true);
  const isOver = pause(holdMs, AbortSignal.any([signal, over.signal])).then(() => false);
  const reached = await Promise.race([isQuiet, isOver]);
  over.abort();
  return reached && !signal.aborted;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    // Reads the sockets once more after the timer: if an answer is there already, this process was late, not the
    // answer.
    const timer = setTimeout(() => setImmediate(end), ms).unref();
    signal.addEventListener('abort', end, { once: true });
  });
}

function join(place: RepositoryLock, freeze: Freeze): RepositoryLock {
  const reachedAtMs = performance.now();
  const lost = [place.lost, freeze.lost].filter((signal) => signal !== null);
  let isHeld = true;
  return {
    lost: lost.length === 0 ? null : AbortSignal.any(lost),
    isHeld: async () => isHeld && freeze.lost?.aborted !== true && (await place.isHeld()),
    release: () => {
      if (!isHeld) return;
      isHeld = false;
      freeze.thaw();
      const pauseMs = Math.min(performance.now() - reachedAtMs, maxPauseMs);
      setTimeout(() => place.release(), pauseMs).unref();
    },
  };
}
