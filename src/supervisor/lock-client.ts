import type { LockRefusal, RepositoryLock, RepositoryLocks } from '../locks/repository-locks.ts';
import type { LockAnswer, LockKind, LockLoss, LockRequest } from './lock-server.ts';

/** A worker's side of the locks that the primary process gives out. */
export type LockClient = {
  readonly locks: RepositoryLocks;
  /** Call it with each message of these kinds. */
  receive(message: LockAnswer | LockLoss): void;
};

/** @param send sends to the primary process */
export function createLockClient(of: LockKind, send: (message: LockRequest) => void): LockClient {
  const waiting = new Map<number, (refusal: LockRefusal | null) => void>();
  const held = new Map<number, AbortController>();
  let lastNumber = 0;

  const hold = (number: number): RepositoryLock => {
    const losing = new AbortController();
    let isHeld = true;
    held.set(number, losing);
    return {
      lost: losing.signal,
      isHeld: () => Promise.resolve(isHeld && !losing.signal.aborted),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        held.delete(number);
        send({ kind: 'unlock', of, number });
      },
    };
  };

  return {
    locks: {
      acquire: (repository, { waitMs, maxWaiting, signal }) =>
        new Promise((resolve) => {
          if (signal.aborted) {
            resolve('gone');
            return;
          }
          const number = ++lastNumber;
          const leave = () => send({ kind: 'unlock', of, number }); // already answered with 'gone', or the lock was on its way
          waiting.set(number, (refusal) => {
            signal.removeEventListener('abort', leave);
            resolve(refusal ?? (signal.aborted ? 'gone' : hold(number)));
          });
          signal.addEventListener('abort', leave, { once: true });
          send({ kind: 'lock', of, number, repository, waitMs, maxWaiting });
        }),
    },
    receive: (message) => {
      const { kind, number } = message;
      if (kind === 'lock-lost') {
        held.get(number)?.abort();
        return;
      }
      waiting.get(number)?.(message.refusal);
      waiting.delete(number);
    },
  };
}
