import { createHashKey } from '../../src/auth/keyed-hash.ts';
import { createLoginThrottle, type LoginThrottle } from '../../src/auth/throttle/login-throttle.ts';

/** A throttle in memory that locks out an address or name after so many failures; without a number, never. */
export function createThrottle({
  failures = 0,
  now = () => performance.now(),
}: { failures?: number; now?: () => number } = {}): LoginThrottle {
  const rules = { failures, windowMs: 60_000, lockMs: 1000, maxLockMs: 1000 };
  return createLoginThrottle({
    address: rules,
    name: rules,
    repeat: { ...rules, failures: 10 * failures },
    maxEntries: 1000,
    hashKey: createHashKey(),
    provenTtlMs: 60_000,
    maxProven: 1000,
    shared: null,
    events: { onThrottled: () => {}, onLockOut: () => {} },
    now,
  });
}
