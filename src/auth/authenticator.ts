import { OciError } from '../registry/error.ts';
import type { MachineToken, User } from '../registry/principal.ts';
import type { WorkerIpc } from '../system/worker-ipc.ts';
import { parseBasicCredentials } from './basic-credentials.ts';
import { createCredentialCache } from './credential-cache.ts';
import type { MachineLogins, MachineTokenFault } from './machine-tokens/machine-logins.ts';
import { tokenPrefix } from './machine-tokens/machine-token.ts';
import { createPasswordCheck } from './password/password-check.ts';
import type { HtpasswdFile } from './htpasswd/htpasswd-file.ts';
import type { LoginThrottle } from './throttle/login-throttle.ts';
import type { PasswordPool } from './password/password-pool.ts';
import { createV1Tokens, parseTokenCredentials, type V1TokenNotice } from './tokens/v1-tokens.ts';

/**
 * Why credentials were refused; for the log, never for the client, who must not learn whether name or password was
 * wrong.
 */
export type RefusalReason =
  | 'several-authorization-headers'
  | 'malformed'
  | 'unsupported-scheme'
  | 'wrong-credentials'
  | 'unknown-token'
  | MachineTokenFault;

/** The result of authentication: no credentials, a verified user, wrong credentials, or locked out. */
export type AuthenticationResult =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'verified'; readonly principal: User | MachineToken; readonly scheme: 'basic' | 'token' }
  | {
      readonly kind: 'refused';
      readonly reason: RefusalReason;
      /** What the client may know, since it has shown a right machine token. */
      readonly sentence?: string;
    }
  | { readonly kind: 'locked-out'; readonly forMs: number };

export type Authenticator = {
  /**
   * Checks all Authorization values of one request (none, or one without name and password: anonymous; more than one:
   * refused).
   *
   * @param clientAddress the source address, under which wrong passwords are counted
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
  /** The hash that the user was verified against, while the user's line still has it; undefined: no longer. */
  hashOf(principal: User): string | undefined;
  /** Forgets everything, stops following the htpasswd file and closes the password pool; later checks are UNAVAILABLE. */
  close(): Promise<void>;
};

export type AuthenticatorOptions = {
  readonly htpasswd: Omit<HtpasswdFile, 'reread'>;
  /** Checks what begins as a machine token does: that is never compared with a user's password. */
  readonly machines: Pick<MachineLogins, 'check'>;
  readonly pool: PasswordPool;
  readonly throttle: LoginThrottle;
  /** How long a success is remembered. */
  readonly credentialTtlMs: number;
  /** How many are. */
  readonly maxCredentials: number;
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number;
  /** The messages to and from the other workers. */
  readonly ipc?: WorkerIpc<V1TokenNotice> | undefined;
};

/**
 * Creates the only place that authenticates: by Basic credentials of the htpasswd file, by machine tokens, and by tokens
 * that upstream issued to users verified in this way.
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const {
    htpasswd,
    machines,
    pool,
    credentialTtlMs: ttlMs,
    maxCredentials,
    now = () => performance.now(),
    ipc,
  } = options;
  const credentials = createCredentialCache({ ttlMs, maxEntries: maxCredentials, now });
  const tokens = createV1Tokens({ ttlMs, maxTokens: maxCredentials, now });
  const proofs = createProofs(htpasswd);
  const checkPassword = createPasswordCheck({ ...options, keyOf: credentials.keyOf });
  let generation = htpasswd.generation();
  let closed = false;
  ipc?.subscribe(({ token, name, hash }) => {
    const principal = { kind: 'user', name } as const;
    proofs.bind(principal, hash);
    tokens.remember(token, principal);
  });

  function checkToken(token: string): AuthenticationResult {
    const principal = tokens.find(token);
    return principal !== undefined && proofs.hashOf(principal) !== undefined
      ? { kind: 'verified', principal, scheme: 'token' }
      : refused('unknown-token');
  }

  async function checkBasic(
    login: { name: string; password: string },
    address: string,
    valueKey: string,
  ): Promise<AuthenticationResult> {
    const result = await checkPassword(login, address);
    if (result.kind === 'locked-out') return result;
    if (result.kind === 'wrong') return refused('wrong-credentials');
    const principal = credentials.get(valueKey) ?? ({ kind: 'user', name: login.name } as const);
    proofs.bind(principal, result.hash);
    credentials.remember(valueKey, principal);
    return { kind: 'verified', principal, scheme: 'basic' };
  }

  async function checkMachine(
    { name, password: token }: { name: string; password: string },
    address: string,
  ): Promise<AuthenticationResult> {
    const result = await machines.check({ name, token, address });
    return result.kind === 'verified'
      ? { kind: 'verified', principal: result.principal, scheme: 'basic' }
      : result;
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
      if (remembered !== undefined && proofs.hashOf(remembered) !== undefined)
        return { kind: 'verified', principal: remembered, scheme: 'basic' };
      const basic = parseBasicCredentials(value);
      switch (basic.kind) {
        case 'credentials':
          return basic.password.startsWith(tokenPrefix)
            ? checkMachine(basic, clientAddress)
            : checkBasic(basic, clientAddress, valueKey);
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
    hashOf: proofs.hashOf,
    async rememberToken(token, principal) {
      const hash = proofs.hashOf(principal);
      if (token.trim() === '' || hash === undefined) return;
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

/** The hash that each verified user was checked against. */
type Proofs = {
  bind(principal: User, hash: string): void;
  /** The hash that the user was verified against, while the user's line still has it; undefined: no longer. */
  readonly hashOf: (principal: User) => string | undefined;
};

function createProofs(htpasswd: Pick<HtpasswdFile, 'lookup'>): Proofs {
  const verifiedHashes = new WeakMap<User, string>();
  return {
    bind: (principal, hash) => verifiedHashes.set(principal, hash),
    hashOf: (principal) => {
      const hash = verifiedHashes.get(principal);
      return hash !== undefined && htpasswd.lookup(principal.name)?.hash === hash ? hash : undefined;
    },
  };
}

function refused(reason: RefusalReason): AuthenticationResult {
  return { kind: 'refused', reason };
}
