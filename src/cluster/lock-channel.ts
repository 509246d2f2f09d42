import type { LockRefusal, RepositoryLock, RepositoryLocks } from '../repository-locks.ts';
import type { LockAnswer, LockKind, LockRequest } from './lock-desk.ts';

/** A worker's side of the locks that the primary process gives out. */
export type LockChannel = {
  readonly locks: RepositoryLocks;
  /** To be called with each message of this kind. */
  receive(message: LockAnswer): void;
};

/** @param send reaches the primary process */
export function createLockChannel(of: LockKind, send: (message: LockRequest) => void): LockChannel {
  const waiting = new Map<number, (refusal: LockRefusal | null) => void>();
  let lastNumber = 0;

  const hold = (number: number): RepositoryLock => {
    let isHeld = true;
    return {
      lost: null, // this process ends with the primary one
      isHeld: () => Promise.resolve(isHeld),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
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
          const leave = () => send({ kind: 'unlock', of, number }); // answered with 'gone', or crossed by the lock
          waiting.set(number, (refusal) => {
            signal.removeEventListener('abort', leave);
            resolve(refusal ?? (signal.aborted ? 'gone' : hold(number)));
          });
          signal.addEventListener('abort', leave, { once: true });
          send({ kind: 'lock', of, number, repository, waitMs, maxWaiting });
        }),
    },
    receive: ({ number, refusal }) => {
      waiting.get(number)?.(refusal);
      waiting.delete(number);
    },
  };
}
