import type { Identity } from './identity.ts';

/** Why credentials were refused; for the log, never for the client (a name must not be told from a password). */
export type RefusalReason =
  | 'several-authorization-headers'
  | 'malformed'
  | 'unsupported-scheme'
  | 'wrong-credentials'
  | 'unknown-token';

/** The answer to "who is asking": nobody said, somebody proven, or somebody who failed to prove it. */
export type AuthenticationResult =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'verified'; readonly identity: Identity; readonly scheme: 'basic' | 'token' }
  | { readonly kind: 'refused'; readonly reason: RefusalReason };

export type Authenticator = {
  /**
   * Checks all Authorization header values of one request (none: anonymous; more than one: refused).
   *
   * @throws OciError UNAVAILABLE when it could not be decided; never for wrong credentials.
   */
  authenticate(authorizationValues: readonly string[]): Promise<AuthenticationResult>;
  /**
   * Remembers a token of upstream's X-Docker-Token response header (the first registry protocol).
   *
   * @param identity the very object that {@link authenticate} returned: it is bound to the entry that was verified.
   */
  rememberToken(token: string, identity: Identity): void;
  /** Forgets everything and closes the htpasswd file's watch and the password pool; later checks are UNAVAILABLE. */
  close(): Promise<void>;
};
