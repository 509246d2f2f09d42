import { OciError } from '../registry/error.ts';
import type { User } from '../registry/principal.ts';
import type { WorkerIpc } from '../system/worker-ipc.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import { createCredentialCache } from './credential-cache.ts';
import { createDummyHashChoice } from './password/dummy-hash.ts';
import type { HtpasswdFile } from './htpasswd/htpasswd-file.ts';
import type { LoginAttempt, LoginThrottle } from './throttle/login-throttle.ts';
import type { PasswordPool } from './password/password-pool.ts';
import { createV1Tokens, parseTokenCredentials, type V1TokenNotice } from './tokens/v1-tokens.ts';

/** Why credentials were refused; for the log, never for the client (a name must not be told from a password). */
export type RefusalReason =
  | 'several-authorization-headers'
  | 'malformed'
  | 'unsupported-scheme'
  | 'wrong-credentials'
  | 'unknown-token';

/** The answer to "who is asking": nobody said, somebody proven, somebody who failed to prove it, or somebody who may not try now. */
export type AuthenticationResult =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'verified'; readonly principal: User; readonly scheme: 'basic' | 'token' }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }
  | { readonly kind: 'locked-out'; readonly forMs: number };

export type Authenticator = {
  /**
   * Checks all Authorization header values of one request (none, or one without name and password: anonymous; more than one: refused).
   *
   * @param clientAddress where it came from, by which wrong passwords are counted
   * @throws OciError UNAVAILABLE when it could not be decided; never for wrong credentials.
   */
  authenticate(authorizationValues: readonly string[], clientAddress: string): Promise<AuthenticationResult>;
  /**
   * Remembers a token of upstream's X-Docker-Token response header (the first registry protocol); resolves when the
   * processes that serve with this one have, too.
   *
   * @param principal the very object that {@link authenticate} returned: it is bound to the entry that was verified.
   */
  rememberToken(token: string, principal: User): Promise<void>;
  /** The hash that a user was verified against, as long as it is the one in his or her line; undefined: no more. */
  hashOf(principal: User): string | undefined;
  /** Forgets everything and closes the htpasswd file's watch and the password pool; later checks are UNAVAILABLE. */
  close(): Promise<void>;
};

/**
 * Creates the one place that decides who is asking: Basic credentials of the htpasswd file, and tokens that upstream
 * itself issued to users so verified; nothing else passes.
 *
 * @param options credentialTtlMs: how long a success is remembered; maxCredentials: how many; now: a monotonic clock in milliseconds
 */
export function createAuthenticator(options: {
  htpasswd: Omit<HtpasswdFile, 'reread'>;
  pool: PasswordPool;
  throttle: LoginThrottle;
  credentialTtlMs: number;
  maxCredentials: number;
  now?: () => number;
  /** Processes that serve with this one. */
  ipc?: WorkerIpc<V1TokenNotice> | undefined;
}): Authenticator {
  const {
    htpasswd,
    pool,
    throttle,
    credentialTtlMs: ttlMs,
    maxCredentials,
    now = () => performance.now(),
    ipc,
  } = options;
  const credentials = createCredentialCache({ ttlMs, maxEntries: maxCredentials, now });
  const tokens = createV1Tokens({ ttlMs, maxTokens: maxCredentials, now });
  const chooseDummyHash = createDummyHashChoice();
  const flights = new Map<string, Flight>();
  const verifiedHashes = new WeakMap<User, string>();
  let generation = htpasswd.generation();
  let closed = false;
  ipc?.subscribe(({ token, name, hash }) => {
    const principal = { kind: 'user', name } as const;
    verifiedHashes.set(principal, hash);
    tokens.remember(token, principal);
  });

  function isCurrent(principal: User): boolean {
    const hash = verifiedHashes.get(principal);
    return hash !== undefined && htpasswd.lookup(principal.name)?.hash === hash;
  }

  function checkToken(token: string): AuthenticationResult {
    const principal = tokens.find(token);
    return principal !== undefined && isCurrent(principal)
      ? { kind: 'verified', principal, scheme: 'token' }
      : refused('unknown-token');
  }

  async function checkPassword(
    { name, password }: { name: string; password: string },
    address: string,
    valueKey: string,
  ): Promise<AuthenticationResult> {
    const entry = htpasswd.lookup(name);
    // An unknown name takes the same way as a known one, queue and joined flights included; only its end is fixed.
    const hash = entry?.hash ?? chooseDummyHash(name, htpasswd.usable());
    const attempt = await throttle.begin({ address, name, password, hash, isUser: entry !== undefined });
    if (throttle.lockedMs(attempt) > 0) return lockedOut(attempt);
    const matches = await verifyOnce(credentials.keyOf(name, password, hash), password, hash, attempt);
    if (matches === undefined) return lockedOut(attempt);
    // The user may have been removed or given another password while the hash was computed.
    if (!matches || entry === undefined || htpasswd.lookup(name)?.hash !== hash) {
      await throttle.failed(attempt);
      return refused('wrong-credentials');
    }
    throttle.succeeded(attempt);
    const principal = credentials.get(valueKey) ?? ({ kind: 'user', name } as const);
    verifiedHashes.set(principal, hash);
    credentials.remember(valueKey, principal);
    return { kind: 'verified', principal, scheme: 'basic' };
  }

  /** Gives undefined when all who wait for it have been locked out meanwhile, by those who were before them in the queue. */
  function verifyOnce(
    key: string,
    password: string,
    hash: string,
    attempt: LoginAttempt,
  ): Promise<boolean | undefined> {
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
  }

  function lockedOut(attempt: LoginAttempt): AuthenticationResult {
    throttle.refused(attempt);
    return { kind: 'locked-out', forMs: throttle.lockedMs(attempt) };
  }

  function forgetAfterChange(): void {
    if (generation === htpasswd.generation()) return;
    generation = htpasswd.generation();
    credentials.clear();
  }

  return {
    async authenticate(values, clientAddress) {
      if (closed) throw new OciError('UNAVAILABLE', 'Tidegate is shutting down.');
      const [value, ...others] = values;
      if (value === undefined) return { kind: 'anonymous' };
      if (others.length > 0) return refused('several-authorization-headers');
      forgetAfterChange();
      const valueKey = credentials.keyOf(value);
      const remembered = credentials.get(valueKey);
      if (remembered !== undefined && isCurrent(remembered))
        return { kind: 'verified', principal: remembered, scheme: 'basic' };
      const basic = parseBasicCredentials(value);
      switch (basic.kind) {
        case 'credentials':
          return checkPassword(basic, clientAddress, valueKey);
        case 'nobody':
          return { kind: 'anonymous' };
        case 'malformed':
          return refused('malformed');
        case 'other-scheme': {
          const token = parseTokenCredentials(value);
          return token === undefined ? refused('unsupported-scheme') : checkToken(token);
        }
      }
    },
    hashOf: (principal) => (isCurrent(principal) ? verifiedHashes.get(principal) : undefined),
    async rememberToken(token, principal) {
      const hash = verifiedHashes.get(principal);
      if (token.trim() === '' || hash === undefined || !isCurrent(principal)) return;
      tokens.remember(token, principal);
      await ipc?.publish({ token, name: principal.name, hash });
    },
    async close() {
      closed = true;
      credentials.clear();
      tokens.clear();
      htpasswd.close();
      await pool.close();
    },
  };
}

/** One check under way, and all attempts that wait for it. */
type Flight = { readonly matches: Promise<boolean | undefined>; readonly attempts: LoginAttempt[] };

function refused(reason: RefusalReason): AuthenticationResult {
  return { kind: 'refused', reason };
}
