import type { Logger } from 'pino';
import { OciError } from '../../registry/error.ts';

/** A request at a route's registry. Call `answered` or `failed` at most once, and `leave` in any case. */
export type Passage = {
  answered(): void;
  /** There was no answer. */
  failed(): void;
  leave(): void;
};

/**
 * Keeps a registry that is away or slow from taking up what the others need: it limits the requests in progress, and
 * after some failures in a row refuses all for a while, then tries one.
 */
export type Bulkhead = {
  /**
   * @param sendsBody whether it waits for its client too, for as long as that likes: then it takes no room, and does not
   * try for others whether the registry is back
   * @throws OciError UNAVAILABLE
   */
  enter(options?: { readonly sendsBody: boolean }): Passage;
};

export type BulkheadOptions = {
  /** The route's name. */
  readonly name: string;
  /** What clients are told it is, as a part of a sentence. */
  readonly description: string;
  readonly maxRequests: number;
  /** After how many failures in a row nothing is tried for `pauseMs`. */
  readonly maxFailures: number;
  readonly pauseMs: number;
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
};

export function createBulkhead(options: BulkheadOptions): Bulkhead {
  const { name: upstream, description, maxRequests, maxFailures, pauseMs, now, logger } = options;
  let active = 0;
  let failures = 0;
  let closedUntilMs = -Infinity;
  /** The request that tries whether the registry is back. */
  let trying: object | null = null;
  const refuse = (reason: string, why: string, retryAfterMs: number): OciError =>
    new OciError('UNAVAILABLE', `${description} ${why}`, {
      reason,
      headers: { 'Retry-After': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
    });

  return {
    enter: ({ sendsBody } = { sendsBody: false }) => {
      const nowMs = now();
      if (nowMs < closedUntilMs)
        throw refuse(
          'upstream-paused',
          'did not answer several times; it is tried again in a moment.',
          closedUntilMs - nowMs,
        );
      if (!sendsBody && active >= maxRequests)
        throw refuse('upstream-full', 'has too many requests in progress; try again in a moment.', 1000);
      // While one request tries whether it is back, the others are refused.
      const trial = failures >= maxFailures && !sendsBody ? {} : null;
      if (trial) {
        trying = trial;
        closedUntilMs = nowMs + pauseMs;
      }
      if (!sendsBody) active += 1;
      let isIn = true;
      const leave = () => {
        if (isIn && !sendsBody) active -= 1;
        isIn = false;
        if (trial === null || trying !== trial) return;
        // Its client left before the registry answered: the next request tries.
        trying = null;
        closedUntilMs = -Infinity;
      };
      return {
        leave,
        answered: () => {
          if (failures >= maxFailures) logger.info({ upstream }, 'the registry of a route answers again');
          failures = 0;
          trying = null;
          closedUntilMs = -Infinity;
          leave();
        },
        failed: () => {
          failures += 1;
          if (failures === maxFailures)
            logger.warn(
              { upstream, failures, pauseMs },
              'the registry of a route did not answer several times in a row: it is not asked now, then tried again',
            );
          trying = null;
          if (failures >= maxFailures) closedUntilMs = now() + pauseMs;
        },
      };
    },
  };
}
