import { LRUCache } from 'lru-cache';
import { countedUpTo } from '../../system/counted.ts';

export type LockOutRules = {
  /** The number of failures within the window that begins a lock-out; 0: never. */
  readonly failures: number;
  readonly windowMs: number;
  /** How long the first lock-out lasts, in milliseconds; each further one lasts twice as long. */
  readonly lockMs: number;
  /** The longest lock-out, in milliseconds. */
  readonly maxLockMs: number;
};

/** A lock-out: its remaining time, and its number in a row. */
export type LockOut = { readonly forMs: number; readonly times: number };

/** Counts failures per key, and locks out a key with too many. */
export type LockOuts = {
  /** How long a key is still locked out, in milliseconds; 0: it is not. */
  remainingMs(key: string): number;
  /** Whether a failure was counted, or a lock-out ended, less than a window ago. */
  isRecent(key: string): boolean;
  /** Counts a failure; returns the lock-out that it begins. Failures during one are not counted, so that it ends. */
  count(key: string): LockOut | null;
  /** Adopts a lock-out of another instance. */
  adopt(key: string, lockOut: LockOut): void;
};

/** How long after a lock-out the next one counts as the first again, in milliseconds. */
export const forgetLockOutsMs = 24 * 60 * 60 * 1000;

type Count = {
  /** When the last failure was counted, or the lock-out that it began ends. */
  lastMs: number;
  /** When the window that `current` counts began; `previous` is the count of the one before it. */
  startMs: number;
  current: number;
  previous: number;
  /** When the last lock-out ends or ended, and how many there were in a row. */
  untilMs: number;
  times: number;
};

/**
 * Creates an empty count of at most `maxEntries` keys, which drops the one that failed least recently. The window
 * slides: the previous window counts by the part that still overlaps, as if its failures were spread evenly.
 *
 * @param options now: a monotonic clock in milliseconds
 */
export function createLockOuts(
  options: LockOutRules & { readonly maxEntries: number; readonly now: () => number },
): LockOuts {
  const { failures, windowMs, maxEntries, now } = options;
  const counts = new LRUCache<string, Count>(countedUpTo(maxEntries));

  const open = (key: string, nowMs: number): Count => {
    const known = counts.get(key);
    if (known !== undefined) return known;
    const count = {
      lastMs: -Infinity,
      startMs: nowMs,
      current: 0,
      previous: 0,
      untilMs: -Infinity,
      times: 0,
    };
    counts.set(key, count);
    return count;
  };

  const slide = (count: Count, nowMs: number): void => {
    const sinceMs = nowMs - count.startMs;
    if (sinceMs < windowMs) return;
    const isNext = sinceMs < 2 * windowMs;
    count.previous = isNext ? count.current : 0;
    count.current = 0;
    count.startMs = isNext ? count.startMs + windowMs : nowMs;
  };

  return {
    remainingMs: (key) => Math.max(0, (counts.peek(key)?.untilMs ?? -Infinity) - now()),
    isRecent: (key) => now() - (counts.peek(key)?.lastMs ?? -Infinity) < windowMs,
    count: (key) => {
      if (failures === 0) return null;
      const nowMs = now();
      const count = open(key, nowMs);
      if (nowMs < count.untilMs) return null;
      if (nowMs - count.untilMs >= forgetLockOutsMs) count.times = 0;
      slide(count, nowMs);
      count.current += 1;
      count.lastMs = nowMs;
      const sum = count.current + count.previous * (1 - (nowMs - count.startMs) / windowMs);
      if (sum < failures) return null;
      count.times += 1;
      const forMs = lockOutMs(options, count.times);
      count.untilMs = nowMs + forMs;
      Object.assign(count, { lastMs: count.untilMs, startMs: count.untilMs, current: 0, previous: 0 });
      return { forMs, times: count.times };
    },
    adopt: (key, { forMs, times }) => {
      const nowMs = now();
      const count = open(key, nowMs);
      count.times = Math.max(count.times, times);
      if (nowMs + forMs <= count.untilMs) return;
      count.untilMs = nowMs + forMs;
      Object.assign(count, { lastMs: count.untilMs, startMs: count.untilMs, current: 0, previous: 0 });
    },
  };
}

function lockOutMs({ lockMs, maxLockMs }: LockOutRules, times: number): number {
  return Math.min(Math.max(lockMs, maxLockMs), lockMs * 2 ** Math.min(times - 1, 40));
}
