import type { Freeze, Freezer } from './repository-freezer.ts';
import type { LockRefusal, RepositoryLock, RepositoryLocks } from './repository-locks.ts';

/**
 * How long the repository is held at the first try, in milliseconds. What is under way there mostly ends within it. Each further try is twice as
 * long, up to `maxHoldMs`: longer than anything that was broken off counts as under way (`unsettledMs`), so that nobody can keep a delete waiting by
 * breaking off.
 */
const firstHoldMs = 50;
const maxHoldMs = 4000;
/** The longest pause after a freeze that was reached, in milliseconds; it is as long as that took. */
const maxPauseMs = 1000;

/**
 * Lets a delete have its repository for itself: after those before it, and when nothing that may not meet it is under way in any process that
 * serves. What is held meanwhile goes first afterwards, and for at least as long as it was held.
 * @param queue one delete after the other; their repositories' locks are no other writes'
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
    // Those who were held go first.
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
    // After the timer one more look at the sockets: an answer that is there already was not late, this process was.
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
