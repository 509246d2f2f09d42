import {
  unsettledMs,
  type LockRefusal,
  type RepositoryLock,
  type RepositoryLocks,
} from '../locks/repository-locks.ts';

/** The kind of a lock: writes of immutable tags, or deletes, which run alone in a repository. */
export type LockKind = 'tags' | 'deletes';

/**
 * From a worker: requests the lock of a repository under the worker's own number; with `unlock`, releases or cancels
 * it.
 */
export type LockRequest =
  | {
      readonly kind: 'lock';
      readonly of: LockKind;
      readonly number: number;
      readonly repository: string;
      readonly waitMs: number;
      readonly maxWaiting: number;
    }
  | { readonly kind: 'unlock'; readonly of: LockKind; readonly number: number };

/** To that worker: it holds the lock of this number, or why not. */
export type LockAnswer = {
  readonly kind: 'lock-answer';
  readonly of: LockKind;
  readonly number: number;
  readonly refusal: LockRefusal | null;
};

/** To that worker: others may hold the lock of this number too. */
export type LockLoss = { readonly kind: 'lock-lost'; readonly of: LockKind; readonly number: number };

/** A worker as the lock server sees it. */
export type LockMember = { send(message: LockAnswer | LockLoss): void };

/** Grants the locks of one kind to all workers. */
export type LockServer = {
  heard(member: LockMember, message: LockRequest): void;
  /**
   * Removes a worker that is gone: its requests are cancelled, and its locks are released once its last writes must be
   * over.
   */
  leave(member: LockMember): void;
};

type Wish = { readonly leaving: AbortController; lock: RepositoryLock | null };

export function createLockServer(of: LockKind, locks: RepositoryLocks): LockServer {
  const wishes = new Map<LockMember, Map<number, Wish>>();

  const lock = async (member: LockMember, message: Extract<LockRequest, { kind: 'lock' }>): Promise<void> => {
    const { number, repository, waitMs, maxWaiting } = message;
    const wish: Wish = { leaving: new AbortController(), lock: null };
    const own = wishes.get(member) ?? new Map<number, Wish>();
    wishes.set(member, own.set(number, wish));
    const { signal } = wish.leaving;
    const taken = await locks.acquire(repository, { waitMs, maxWaiting, signal });
    if (typeof taken === 'string') own.delete(number);
    else if (signal.aborted) taken.release();
    else wish.lock = taken;
    member.send({ kind: 'lock-answer', of, number, refusal: typeof taken === 'string' ? taken : null });
    if (typeof taken === 'string' || taken.lost === null) return;
    const lose = () => member.send({ kind: 'lock-lost', of, number });
    if (taken.lost.aborted) lose();
    else taken.lost.addEventListener('abort', lose, { once: true });
  };

  return {
    heard: (member, message) => {
      if (message.kind === 'lock') {
        void lock(member, message);
        return;
      }
      const wish = wishes.get(member)?.get(message.number);
      wishes.get(member)?.delete(message.number);
      wish?.leaving.abort();
      wish?.lock?.release();
    },
    leave: (member) => {
      for (const wish of wishes.get(member)?.values() ?? []) {
        wish.leaving.abort();
        const { lock: held } = wish;
        if (held !== null) setTimeout(() => held.release(), unsettledMs).unref();
      }
      wishes.delete(member);
    },
  };
}
