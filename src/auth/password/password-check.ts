import { createHmac, randomBytes } from 'node:crypto';
import type { HtpasswdEntry } from '../htpasswd/htpasswd.ts';
import type { HtpasswdFile } from '../htpasswd/htpasswd-file.ts';
import type { LoginAttempt, LoginThrottle } from '../throttle/login-throttle.ts';
import type { PasswordPool } from './password-pool.ts';

/** The result of a password check; if right, with the hash of the user's line. */
export type PasswordResult =
  | { readonly kind: 'right'; readonly hash: string }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'locked-out'; readonly forMs: number };

/** Checks a name and a password that came from an address. @throws OciError UNAVAILABLE when it could not be decided. */
export type CheckPassword = (login: Login, address: string) => Promise<PasswordResult>;

type Login = { readonly name: string; readonly password: string };

/** A bcrypt hash of cost 10 of a random password that nobody knows, for a file without any usable user. */
const hashForNobody = '$2y$10$Y4KQRe03G3r3CxuEtoOXFOVVZ6L72/Py4lPjle1WGHfzICPmyD31.';

/** Creates the check of passwords against an htpasswd file, for clients that are not locked out. */
export function createPasswordCheck(options: {
  htpasswd: Pick<HtpasswdFile, 'lookup' | 'usable'>;
  pool: PasswordPool;
  throttle: LoginThrottle;
  /** Hashes these parts into a key that reveals nothing of them. */
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
    // An unknown name is handled like a known one, including queue and joined checks; only its result is fixed.
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

/**
 * Creates the choice of the dummy hash for unknown names, so that they cost as much as known ones.
 *
 * A fixed hash would reveal them in a file that mixes kinds. The choice is spread over the usable entries by a keyed
 * hash of the name: constant for a name, unpredictable, and as often slow or fast as the users' hashes.
 */
function createDummyHashChoice(): (name: string, usable: readonly HtpasswdEntry[]) => string {
  const secret = randomBytes(32);
  return (name, usable) => {
    const number = createHmac('sha256', secret).update(name).digest().readUIntBE(0, 6);
    return usable[number % usable.length]?.hash ?? hashForNobody;
  };
}

/** A running check, and all attempts that wait for it. */
type Flight = { readonly matches: Promise<boolean | undefined>; readonly attempts: LoginAttempt[] };

/**
 * Creates the check that attempts with an equal key share. It returns undefined when all who wait for it have been
 * locked out meanwhile, by attempts before them in the queue.
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
