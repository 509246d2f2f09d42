import type { DeleteAnswer, DeleteWish, DoorAsk, LockAnswer } from '../../clean/channel/messages.ts';
import { unsettledMs, type RepositoryLock, type RepositoryLocks } from '../../locks/repository-locks.ts';
import type { CleanProcesses } from './clean-processes.ts';

/** The locks that a cleaner holds in this instance, and the deletes under them. */
export type CleanLocks = {
  lock(wish: Extract<DoorAsk, { kind: 'lock' }>): Promise<LockAnswer>;
  /** Waits for its deletes under way first. */
  unlock(id: string): Promise<void>;
  /** Whether it is certainly held. */
  isHeld(id: string): Promise<boolean>;
  /** @throws Error when no lock of this id holds the repository */
  delete(id: string, wish: DeleteWish): Promise<DeleteAnswer>;
  /** Releases all of them: nobody knows of them any more. */
  releaseAll(): Promise<void>;
};

export type CleanLocksOptions = {
  readonly locks: RepositoryLocks;
  readonly processes: Pick<CleanProcesses, 'perform'>;
  /** How long the cleaner has said nothing, in milliseconds. */
  readonly silentMs: () => number;
  readonly logger: { warn(fields: object, message: string): void };
};

/** Longer than any work under a lock, and shorter than a write counts in the cache, in milliseconds. */
const maxHoldMs = 30_000;
/** A cleaner that is silent for longer loses its locks, in milliseconds: pushes wait for them. */
const maxSilentMs = 3000;
const checkMs = 250;
/** How long the processes may take to end cached answers, in milliseconds. */
const announceMs = 5000;

type Hold = {
  readonly keys: readonly string[];
  readonly repositories: readonly string[];
  readonly locks: readonly RepositoryLock[];
  readonly over: AbortController;
  /** Aborted when it may not be held any more. */
  readonly lost: AbortSignal;
  readonly deletes: Set<Promise<unknown>>;
  /** Whether the registry may still act on a delete. */
  isUnsettled: boolean;
};

export function createCleanLocks({ locks, processes, silentMs, logger }: CleanLocksOptions): CleanLocks {
  const holds = new Map<string, Hold>();
  /** Being reached. */
  const reaching = new Map<string, AbortController>();
  const releasing = new Set<Promise<void>>();

  const acquire = async (
    keys: readonly string[],
    waitMs: number,
    giveUp: AbortController,
  ): Promise<RepositoryLock[] | null> => {
    const taken = await Promise.all(
      keys.map(async (key) => {
        const lock = await locks.acquire(key, { waitMs, maxWaiting: 1, signal: giveUp.signal });
        if (typeof lock === 'string') giveUp.abort();
        return lock;
      }),
    );
    const held = taken.filter((lock) => typeof lock !== 'string');
    if (held.length === keys.length && !giveUp.signal.aborted) return held;
    for (const lock of held) lock.release();
    return null;
  };

  /** Cached answers of the repositories end: a hit would be no request that the lock holds. */
  const announce = async (id: string, repositories: readonly string[]): Promise<boolean> => {
    if (repositories.length === 0) return true;
    const task = { kind: 'begin-write', id, repositories } as const;
    return processes.perform(task, AbortSignal.timeout(announceMs)).catch(() => false);
  };
  const free = async (id: string, hold: Pick<Hold, 'repositories' | 'locks'>): Promise<void> => {
    if (hold.repositories.length > 0) {
      const task = { kind: 'end-write', id, repositories: hold.repositories } as const;
      await processes.perform(task, AbortSignal.timeout(announceMs)).catch(() => false);
    }
    for (const lock of hold.locks) lock.release();
  };

  const release = (id: string): Promise<void> => {
    const hold = holds.get(id);
    if (hold === undefined) return Promise.resolve();
    holds.delete(id);
    const settle = async () => {
      await Promise.allSettled(hold.deletes);
      if (hold.isUnsettled) await new Promise((resolve) => setTimeout(resolve, unsettledMs).unref());
      await free(id, hold);
      hold.over.abort();
    };
    const released = settle();
    releasing.add(released);
    return released.finally(() => releasing.delete(released));
  };

  /** Releases it when it is lost, held for too long, or the cleaner hangs. */
  const guard = (id: string, hold: Hold, late: AbortController): void => {
    const startedMs = performance.now();
    const check = () => {
      const isLate = performance.now() - startedMs > maxHoldMs;
      const isSilent = silentMs() > maxSilentMs;
      if (!isLate && !isSilent) return;
      if (isLate) late.abort();
      if (!holds.has(id)) return;
      logger.warn(
        { keys: hold.keys.slice(0, 10) },
        isSilent
          ? 'the cleaner hangs and holds a lock: it is released'
          : 'the cleaner holds a lock for too long: it is released',
      );
      void release(id);
    };
    // Reads the sockets once more: what this process was late to read is no silence.
    const checking = setInterval(() => setImmediate(check), checkMs).unref();
    hold.over.signal.addEventListener('abort', () => clearInterval(checking), { once: true });
    hold.lost.addEventListener('abort', () => void release(id), { once: true });
  };

  return {
    lock: async ({ id, keys, waitMs }) => {
      if (holds.has(id) || reaching.has(id)) throw new Error('there is a lock of this id');
      const giveUp = new AbortController();
      reaching.set(id, giveUp);
      try {
        const wanted = [...new Set(keys)];
        const held = await acquire(wanted, waitMs, giveUp);
        if (held === null) return { locked: false };
        const repositories = wanted.filter((key) => !key.includes(':'));
        const isAnnounced = await announce(id, repositories);
        const late = new AbortController();
        const losses = held.map(({ lost }) => lost).filter((lost) => lost !== null);
        const lost = AbortSignal.any([late.signal, ...losses]);
        if (!isAnnounced || giveUp.signal.aborted || lost.aborted) {
          await free(id, { repositories, locks: held });
          return { locked: false };
        }
        const hold: Hold = {
          ...{ keys: wanted, repositories, locks: held, lost },
          over: new AbortController(),
          deletes: new Set(),
          isUnsettled: false,
        };
        holds.set(id, hold);
        guard(id, hold, late);
        return { locked: true };
      } finally {
        reaching.delete(id);
      }
    },
    unlock: release,
    isHeld: async (id) => {
      const hold = holds.get(id);
      if (hold === undefined) return false;
      const held = await Promise.all(hold.locks.map((lock) => lock.isHeld()));
      return held.every(Boolean) && !hold.lost.aborted && holds.get(id) === hold;
    },
    delete: async (id, wish) => {
      const hold = holds.get(id);
      const isHeld = await Promise.all(hold?.locks.map((lock) => lock.isHeld()) ?? []);
      const isSure = isHeld.every(Boolean) && holds.get(id) === hold && hold?.lost.aborted === false;
      if (!isSure || !hold.repositories.includes(wish.repository))
        throw new Error('the lock is lost: nothing was deleted');
      const answering = processes
        .perform({ kind: 'delete', ...wish }, hold.lost)
        .catch((): DeleteAnswer => ({ status: null }));
      hold.deletes.add(answering);
      const answer = await answering;
      if (answer.status === null) hold.isUnsettled = true;
      hold.deletes.delete(answering);
      return answer;
    },
    releaseAll: async () => {
      for (const giveUp of reaching.values()) giveUp.abort();
      for (const id of holds.keys()) void release(id);
      await Promise.all(releasing);
    },
  };
}
