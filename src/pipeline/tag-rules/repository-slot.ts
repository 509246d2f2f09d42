import { OciError } from '../../registry/error.ts';
import { unsettledMs, type LockRefusal, type RepositoryLocks } from '../../locks/repository-locks.ts';
import { whileClientStays } from '../while-client-stays.ts';
import type { Exchange } from '../exchange.ts';
import { clientGone } from './tag-lookup.ts';

/** Forwards the request. @param outlivesClient see ForwardRequest */
export type Proceed = (outlivesClient?: () => boolean) => Promise<void>;

/** Forwards the request, if the lock is still held. */
export type ProceedInSlot = (forward: Proceed) => Promise<void>;

/**
 * Acts once this write holds the repository's lock, which it releases when its answer has been sent. @throws OciError
 * UNAVAILABLE
 */
export type InSlot = <T>(
  exchange: Exchange,
  repository: string,
  act: (proceedInSlot: ProceedInSlot) => Promise<T>,
) => Promise<T>;

export type RepositorySlotOptions = {
  readonly locks: RepositoryLocks;
  /** How long a write waits for the repository's lock, in milliseconds. */
  readonly lockWaitMs: number;
  /** How many may wait. */
  readonly maxWaiting: number;
};

const retryAfterSeconds = 5;

/** Serializes writes to a repository with immutable tags. */
export function createRepositorySlots({ locks, lockWaitMs, maxWaiting }: RepositorySlotOptions): InSlot {
  return async (exchange, repository, act) => {
    const { res } = exchange;
    const lock = await whileClientStays(exchange, (signal) =>
      locks.acquire(repository, { waitMs: lockWaitMs, maxWaiting, signal }),
    );
    if (lock === null || lock === 'gone') throw clientGone();
    if (typeof lock === 'string') throw noSlot(lock, repository);
    // A write that continued without the lock could run beside another.
    const cut = () => {
      exchange.reason = 'lock-lost';
      if (!res.headersSent) res.destroy();
    };
    try {
      return await act(async (forward) => {
        if (!(await lock.isHeld())) throw noSlot('unavailable', repository);
        lock.lost?.addEventListener('abort', cut, { once: true });
        // A client that leaves must not release the lock while upstream still executes its write.
        await forward(() => lock.lost?.aborted !== true);
      });
    } finally {
      lock.lost?.removeEventListener('abort', cut);
      // Forwarded without an answer: upstream may still execute it.
      if (exchange.transfer === null || res.headersSent) lock.release();
      else setTimeout(() => lock.release(), unsettledMs).unref();
    }
  };
}

/** Why a write does not get the lock, or a delete is not inspected. */
export function noSlot(refusal: Exclude<LockRefusal, 'gone'>, repository: string): OciError {
  const why: Record<typeof refusal, string> = {
    late: `Other writes to ${repository}, which has immutable tags, have not ended in time`,
    crowded: `Too many writes to ${repository}, which has immutable tags, are waiting`,
    unavailable: `Other writes to ${repository}, which has immutable tags, could not be ruled out`,
  };
  return tryAgain(why[refusal]);
}

export function tryAgain(why: string): OciError {
  return new OciError('UNAVAILABLE', `${why}: try again in a moment.`, {
    headers: { 'Retry-After': String(retryAfterSeconds) },
  });
}
