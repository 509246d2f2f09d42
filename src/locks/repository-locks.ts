/** A write's turn in its repository. */
export type RepositoryLock = {
  /** Aborted when it is not sure any more that nobody else has it; null: that cannot happen. */
  readonly lost: AbortSignal | null;
  /** Whether it is surely still held; takes a bounded time. */
  isHeld(): Promise<boolean>;
  /** Lets the next one have its turn. */
  release(): void;
};

/** Why there is none: too long a wait, too many who wait already, whoever wanted it has left, or nobody could be asked. */
export type LockRefusal = 'late' | 'crowded' | 'gone' | 'unavailable';

export type LockWish = {
  /** How long it may take, in milliseconds. */
  readonly waitMs: number;
  /** How many may wait for one repository at one time. */
  readonly maxWaiting: number;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
};

/** Lets writes to one repository that must not meet wait for each other. */
export type RepositoryLocks = {
  /** Waits for its turn, behind those who came before; never rejects. */
  acquire(repository: string, wish: LockWish): Promise<RepositoryLock | LockRefusal>;
};

/**
 * For how long a repository stays locked after a write of which nobody knows whether upstream still carries it out, since its client or its
 * process is gone, in milliseconds: many times what a registry takes for a manifest.
 */
export const unsettledMs = 3000;

/** Creates locks of one process. */
export function createRepositoryLocks(): RepositoryLocks {
  /** Those who wait for a repository that is locked; one that is not has none. */
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
