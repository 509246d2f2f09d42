/** A held lock of a repository. */
export type RepositoryLock = {
  /** Aborted when another may hold it too; null: that cannot happen. */
  readonly lost: AbortSignal | null;
  /** Whether it is certainly still held; takes a bounded time. */
  isHeld(): Promise<boolean>;
  /** Gives it to the next waiter. */
  release(): void;
};

/** Why no lock was given: it took too long, too many wait, the client has left, or the lock service is unavailable. */
export type LockRefusal = 'late' | 'crowded' | 'gone' | 'unavailable';

export type LockWish = {
  /** The longest wait, in milliseconds. */
  readonly waitMs: number;
  /** How many may wait for one repository. */
  readonly maxWaiting: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
};

/** Serializes writes to one repository. */
export type RepositoryLocks = {
  /** Waits for the lock, first come, first served; never rejects. */
  acquire(repository: string, wish: LockWish): Promise<RepositoryLock | LockRefusal>;
};

/**
 * How long a repository stays locked after a write whose client or process is gone, since upstream may still execute
 * it, in milliseconds: many times what a registry takes for a manifest.
 */
export const unsettledMs = 3000;

/** Creates the locks of one process. */
export function createRepositoryLocks(): RepositoryLocks {
  /** The waiters for each locked repository; a free one has no entry. */
  const queues = new Map<string, Set<() => void>>();

  const hold = (repository: string): RepositoryLock => {
    let isHeld = true;
    return {
      lost: null,
      isHeld: () => Promise.resolve(isHeld),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        const [next] = queues.get(repository) ?? [];
        if (next) next();
        else queues.delete(repository);
      },
    };
  };

  return {
    acquire: (repository, { waitMs, maxWaiting, signal }) =>
      new Promise((resolve) => {
        if (signal.aborted) {
          resolve('gone');
          return;
        }
        const queue = queues.get(repository);
        if (queue === undefined) {
          queues.set(repository, new Set());
          resolve(hold(repository));
          return;
        }
        if (queue.size >= maxWaiting) {
          resolve('crowded');
          return;
        }
        const end = (outcome: RepositoryLock | LockRefusal) => {
          clearTimeout(timer);
          signal.removeEventListener('abort', leave);
          queue.delete(take);
          resolve(outcome);
        };
        const take = () => end(hold(repository));
        const leave = () => end('gone');
        const timer = setTimeout(() => end('late'), waitMs);
        signal.addEventListener('abort', leave, { once: true });
        queue.add(take);
      }),
  };
}
