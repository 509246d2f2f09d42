import { randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { deriveTokenKeys, type TokenKeySet } from './token-secrets.ts';

/** Why a token may not be used; for the log. */
export type TokenFault = 'invalid-token' | 'expired-token';

/** What the signature of a token vouches for, and the keys that it was verified with. */
type SignedToken = { readonly payload: JWTPayload; readonly keySet: TokenKeySet };

/** Signs tokens, and verifies by whom, for what and until when one was signed. Whom it is for is the caller's to judge. */
export type TokenSignatures = {
  /** The keys that sign. */
  readonly signing: TokenKeySet;
  /** `subject` becomes `sub`; `from` and `to` are in seconds since 1970. */
  sign(kind: TokenKind, subject: string, claims: JWTPayload, from: number, to: number): Promise<string>;
  /**
   * Verifies that a token is one of ours of that kind, for this service, and not expired.
   *
   * @param mayHaveExpired takes an expired one that was valid before
   */
  verify(kind: TokenKind, token: string, mayHaveExpired: boolean): Promise<SignedToken | TokenFault>;
};

export type TokenSignaturesOptions = {
  /** The first signs, all verify. */
  readonly secrets: readonly [string | Buffer, ...(string | Buffer)[]];
  /** The name that clients ask for them by: what they are good for. */
  readonly service: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

const issuer = 'tidegate';
const algorithm = 'HS256';
/** The header's `typ` (RFC 8725 section 3.11); each kind has a key of its own besides. */
const types = { access: 'at+jwt', refresh: 'rt+jwt' } as const;
export type TokenKind = keyof typeof types;
/**
 * The tolerated difference between the clocks of instances; also how long after its expiry a token that was sent in
 * time is accepted.
 */
export const toleranceSeconds = 30;
/** More than a token of 32 scopes and a job's claims has. */
const maxTokenLength = 24_576;
/**
 * Exactly one spelling of each token (RFC 7515 section 7.1): no padding, no blanks, and none of the two bits set that a signature
 * of 32 bytes leaves over in its last letter (RFC 4648 section 3.5), all of which decoders overlook.
 */
const tokenForm = /^[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]$/;

/** Whether a text has the form of a registry token. An ID token has not: its signature is longer. */
export function hasRegistryTokenForm(text: string): boolean {
  return tokenForm.test(text);
}

/** Creates what signs and verifies; processes share only the secrets. */
export function createTokenSignatures(options: TokenSignaturesOptions): TokenSignatures {
  const { service, now } = options;
  const [first, ...others] = options.secrets;
  const signing = deriveTokenKeys(first);
  return {
    signing,
    sign: (kind, subject, claims, from, to) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: algorithm, typ: types[kind], kid: signing.id })
        .setIssuer(issuer)
        .setAudience(service)
        .setSubject(subject)
        .setIssuedAt(from)
        .setNotBefore(from)
        .setExpirationTime(to)
        .setJti(randomUUID())
        .sign(signing[kind]),
    verify: createVerification([signing, ...others.map(deriveTokenKeys)], service, now),
  };
}

function createVerification(
  keySets: readonly TokenKeySet[],
  service: string,
  now: () => number,
): TokenSignatures['verify'] {
  const byId = new Map(keySets.map((keySet) => [keySet.id, keySet]));
  const verifyAt = async (kind: TokenKind, token: string, atMs: number): Promise<SignedToken> => {
    let keySet: TokenKeySet | undefined;
    const { payload } = await jwtVerify(
      token,
      ({ kid = '' }) => {
        keySet = byId.get(kid);
        if (keySet === undefined) throw new errors.JWKSNoMatchingKey();
        return keySet[kind];
      },
      {
        algorithms: [algorithm],
        ...{ typ: types[kind], issuer, audience: service },
        requiredClaims: ['sub', 'exp', 'nbf', 'iat', 'jti'],
        clockTolerance: toleranceSeconds,
        currentDate: new Date(atMs),
      },
    );
    if (keySet === undefined) throw new errors.JWKSNoMatchingKey();
    return { payload, keySet };
  };
  return async (kind, token, mayHaveExpired) => {
    if (token.length > maxTokenLength || !tokenForm.test(token)) return 'invalid-token';
    try {
      return await verifyAt(kind, token, now()).catch((error: unknown) => {
        const lastMs = mayHaveExpired ? lastMomentOf(error) : null;
        if (lastMs === null) throw error;
        // Everything is checked again, as it was then.
        return verifyAt(kind, token, lastMs);
      });
    } catch (error) {
      if (error instanceof errors.JWTExpired) return 'expired-token';
      if (error instanceof errors.JOSEError) return 'invalid-token';
      throw error;
    }
  };
}

/** The last second in which a token was valid, in milliseconds since 1970; null: the error is not that it expired. */
function lastMomentOf(error: unknown): number | null {
  if (!(error instanceof errors.JWTExpired)) return null;
  const lastMs = ((error.payload.exp ?? NaN) - 1) * 1000;
  return Number.isNaN(new Date(lastMs).getTime()) ? null : lastMs;
}
