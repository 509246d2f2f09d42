import type { Leases } from '../../leases/leases.ts';
import { untracedKey } from '../../registry/write-counts.ts';
import { unsettledMs, type LockRefusal, type RepositoryLocks } from '../../locks/repository-locks.ts';

export type DeleteLock = {
  readonly locks: RepositoryLocks;
  /** How long it is waited for, in milliseconds, and by how many. */
  readonly waitMs: number;
  readonly maxWaiting: number;
  /** Counts what is done as a write; null: nobody asks. */
  readonly leases: Pick<Leases, 'noteWrite'> | null;
};

/**
 * Acts alone in a repository, for no client.
 * @param act gets a signal that ends when the lock may be lost, or with `signal`
 */
export async function withDeleteLock<T>(
  { locks, waitMs, maxWaiting, leases }: DeleteLock,
  repository: string,
  signal: AbortSignal,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T | LockRefusal> {
  const lock = await locks.acquire(repository, { waitMs, maxWaiting, signal });
  if (typeof lock === 'string') return lock;
  const acting = new AbortController();
  const stop = () => acting.abort();
  let isSettled = false;
  const noteWrite = () => {
    leases?.noteWrite(repository);
    leases?.noteWrite(untracedKey(repository));
  };
  signal.addEventListener('abort', stop, { once: true });
  lock.lost?.addEventListener('abort', stop, { once: true });
  try {
    if (!(await lock.isHeld())) return 'unavailable';
    if (signal.aborted) return 'gone';
    noteWrite();
    const result = await act(acting.signal);
    isSettled = true;
    return result;
  } finally {
    signal.removeEventListener('abort', stop);
    lock.lost?.removeEventListener('abort', stop);
    // Without an answer upstream may still execute it.
    const release = () => {
      noteWrite();
      lock.release();
    };
    if (isSettled) release();
    else setTimeout(release, unsettledMs).unref();
  }
}
