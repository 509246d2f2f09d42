import { createDummyHashChoice } from './password/dummy-hash.ts';
import type { HtpasswdFile } from './htpasswd/htpasswd-file.ts';
import type { LoginAttempt, LoginThrottle } from './throttle/login-throttle.ts';
import type { PasswordPool } from './password/password-pool.ts';

/** What came of a password; right: against that hash, which is the one in the user's line. */
export type PasswordResult =
  | { readonly kind: 'right'; readonly hash: string }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'locked-out'; readonly forMs: number };

/** Checks a name and a password that came from an address. @throws OciError UNAVAILABLE when it could not be decided. */
export type CheckPassword = (login: Login, address: string) => Promise<PasswordResult>;

type Login = { readonly name: string; readonly password: string };

/** Creates the check of passwords against the lines of an htpasswd file, for those who are not locked out. */
export function createPasswordCheck(options: {
  htpasswd: Pick<HtpasswdFile, 'lookup' | 'usable'>;
  pool: PasswordPool;
  throttle: LoginThrottle;
  /** The key of these parts, which tells nothing of them. */
  keyOf: (...parts: readonly string[]) => string;
}): CheckPassword {
  const { htpasswd, pool, throttle, keyOf } = options;
  const chooseDummyHash = createDummyHashChoice();
  const verifyOnce = createJoinedVerification(pool, throttle);

  const lockedOut = (attempt: LoginAttempt): PasswordResult => {
    throttle.refused(attempt);
    return { kind: 'locked-out', forMs: throttle.lockedMs(attempt) };
  };

  return async ({ name, password }, address) => {
    const entry = htpasswd.lookup(name);
    // An unknown name takes the same way as a known one, queue and joined checks included; only its end is fixed.
    const hash = entry?.hash ?? chooseDummyHash(name, htpasswd.usable());
    const attempt = await throttle.begin({ address, name, password, hash, isUser: entry !== undefined });
    if (throttle.lockedMs(attempt) > 0) return lockedOut(attempt);
    const matches = await verifyOnce(keyOf(name, password, hash), password, hash, attempt);
    if (matches === undefined) return lockedOut(attempt);
    // The user may have been removed or given another password while the hash was computed.
    if (!matches || entry === undefined || htpasswd.lookup(name)?.hash !== hash) {
      await throttle.failed(attempt);
      return { kind: 'wrong' };
    }
    throttle.succeeded(attempt);
    return { kind: 'right', hash };
  };
}

/** One check under way, and all attempts that wait for it. */
type Flight = { readonly matches: Promise<boolean | undefined>; readonly attempts: LoginAttempt[] };

/**
 * Creates the check that equal attempts, by their key, wait for together. It gives undefined when all who wait for it have been
 * locked out meanwhile, by those who were before them in the queue.
 */
function createJoinedVerification(
  pool: PasswordPool,
  throttle: LoginThrottle,
): (key: string, password: string, hash: string, attempt: LoginAttempt) => Promise<boolean | undefined> {
  const flights = new Map<string, Flight>();
  return (key, password, hash, attempt) => {
    const joined = flights.get(key);
    if (joined !== undefined) {
      joined.attempts.push(attempt);
      return joined.matches;
    }
    const attempts = [attempt];
    const isWanted = () => attempts.some((waiting) => throttle.lockedMs(waiting) === 0);
    const order = { isWanted, isFirst: attempt.isExempt };
    const matches = pool.verify(password, hash, order).finally(() => flights.delete(key));
    flights.set(key, { matches, attempts });
    return matches;
  };
}
