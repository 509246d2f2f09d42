import { createHmac, randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import {
  anonymous,
  principalText,
  type Job,
  type MachineToken,
  type Principal,
  type User,
} from '../../registry/principal.ts';
import type { Scope } from '../../registry/token-scope.ts';
import { createKeyedHash } from '../keyed-hash.ts';
import { readJob } from '../oidc/job.ts';
import { readObject } from '../oidc/json-object.ts';
import { deriveTokenKeys, type TokenKeySet } from './token-secrets.ts';

/** The subject of a token; null: anonymous. */
export type TokenSubject = TokenHolder | null;

/** A user, and the hash of the htpasswd line that proved it; or a machine token, and its own hash. */
export type TokenHolder = {
  readonly principal: User | MachineToken | Job;
  readonly hash: string;
  /** When a machine token, or a job's ID token, ends, in milliseconds since 1970; null: never, or not known. */
  readonly expiresMs: number | null;
};

/** The claims of a valid token. */
export type VerifiedToken = {
  readonly principal: Principal;
  readonly scopes: readonly Scope[];
  /** Unique (`jti`). */
  readonly id: string;
};

/** Why a token may not be used; for the log. */
export type TokenFault = 'invalid-token' | 'expired-token';

export type IssuedToken = {
  readonly token: string;
  readonly lifetimeSeconds: number;
  /** RFC 3339. */
  readonly issuedAt: string;
};

/** Tokens as the distribution's "Token Authentication Specification" has them: JWTs (RFC 7519), signed with HMAC-SHA256. */
export type RegistryTokens = {
  issue(subject: TokenSubject, scopes: readonly Scope[]): Promise<IssuedToken>;
  /** The fault of a token: not ours, expired, or its user was removed or has another password, or its machine token ended. */
  verify(token: string): Promise<VerifiedToken | TokenFault>;
  /** The claims of a token that is valid, or was when it expired and would be still; null: it has another fault. */
  verifyExpired(token: string): Promise<VerifiedToken | null>;
  /** For users only. */
  issueRefresh(subject: TokenHolder): Promise<string>;
  /** The subject of a refresh token; null: it is not valid. */
  verifyRefresh(token: string): Promise<TokenSubject>;
};

export type RegistryTokensOptions = {
  /** The first signs, all verify. */
  readonly secrets: readonly [string | Buffer, ...(string | Buffer)[]];
  /** The name that clients ask for them by: what they are good for. */
  readonly service: string;
  readonly ttlMs: number;
  readonly refreshTtlMs: number;
  /** How many verified tokens are remembered. */
  readonly maxRemembered: number;
  /** Who has this text as a principal now; undefined: nobody, or not any more. */
  readonly findHolder: (text: string) => TokenHolder | undefined;
  /** The same for a job, whom its token carries; left out: no job may log in. */
  readonly holderOfJob?: ((job: Job) => TokenHolder | undefined) | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

const issuer = 'tidegate';
const algorithm = 'HS256';
/** The header's `typ` (RFC 8725 section 3.11); each kind has a key of its own besides. */
const types = { access: 'at+jwt', refresh: 'rt+jwt' } as const;
type TokenKind = keyof typeof types;
/**
 * The tolerated difference between the clocks of instances; also how long after its expiry a token that was sent in
 * time is accepted.
 */
const toleranceSeconds = 30;
/** More than a token of 32 scopes and a job's claims has. */
const maxTokenLength = 24_576;
/**
 * Exactly one spelling of each token (RFC 7515 section 7.1): no padding, no blanks, and none of the two bits set that a signature
 * of 32 bytes leaves over in its last letter (RFC 4648 section 3.5), all of which decoders overlook.
 */
const tokenForm = /^[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]$/;
/** More than one of a few scopes has: as many characters of tokens as this for each that may be remembered are remembered in all. */
const usualTokenLength = 1024;

/** Whom a token is for, and its claims. */
type ReadToken = { readonly subject: TokenSubject; readonly payload: JWTPayload };

type Remembered = {
  readonly verified: VerifiedToken;
  readonly subject: TokenSubject;
  readonly untilMs: number;
};

/** Whether a text has the form of a registry token. An ID token has not: its signature is longer. */
export function hasRegistryTokenForm(text: string): boolean {
  return tokenForm.test(text);
}

/** Creates the issuer and verifier of tokens; processes share only the secrets. */
export function createRegistryTokens(options: RegistryTokensOptions): RegistryTokens {
  const { service, now } = options;
  const findHolder = (who: string | Job) =>
    typeof who === 'string' ? options.findHolder(who) : options.holderOfJob?.(who);
  const [first, ...others] = options.secrets;
  const signing = deriveTokenKeys(first);
  const keySets = [signing, ...others.map(deriveTokenKeys)];
  const verifySignature = createSignatureCheck(keySets, service, now);
  const keyedHash = createKeyedHash();
  const remembered = new LRUCache<string, Remembered>({
    max: options.maxRemembered,
    // Tokens have what their scopes need: anonymous clients, too, can have many of the longest.
    maxSize: options.maxRemembered * usualTokenLength,
  });

  const sign = (
    kind: TokenKind,
    subject: TokenSubject,
    claims: JWTPayload,
    seconds: [from: number, to: number],
  ) =>
    new SignJWT({ ...claims, ...(subject && { line: bindLine(signing, subject) }) })
      .setProtectedHeader({ alg: algorithm, typ: types[kind], kid: signing.id })
      .setIssuer(issuer)
      .setAudience(service)
      .setSubject(principalText(subject?.principal ?? anonymous) ?? '')
      .setIssuedAt(seconds[0])
      .setNotBefore(seconds[0])
      .setExpirationTime(seconds[1])
      .setJti(randomUUID())
      .sign(signing[kind]);

  /** Verifies a token of that kind; returns its subject and claims. */
  const read = async (
    kind: TokenKind,
    token: string,
    mayHaveExpired = false,
  ): Promise<ReadToken | TokenFault> => {
    const signed = await verifySignature(kind, token, mayHaveExpired);
    if (typeof signed === 'string') return signed;
    const { payload, keySet } = signed;
    const { sub: text, line } = payload;
    if (text === '') return line === undefined ? { subject: null, payload } : 'invalid-token';
    const job = readCarriedJob(payload);
    if (text === undefined || job === null || (job && principalText(job) !== text)) return 'invalid-token';
    const subject = findHolder(job ?? text);
    if (subject === undefined) return 'invalid-token';
    return line === bindLine(keySet, subject) ? { subject, payload } : 'invalid-token';
  };

  /** What a token says that was verified before, with its holder as he, she or it is now; undefined: it may not be used any more. */
  const refresh = ({ verified, subject }: Remembered): VerifiedToken | undefined => {
    if (subject === null) return verified;
    const { principal } = subject;
    const holder = findHolder(principal.kind === 'job' ? principal : principalText(principal));
    if (holder?.hash !== subject.hash) return undefined;
    return principal.kind !== 'token' ? verified : { ...verified, principal: holder.principal };
  };

  return {
    issue: async (subject, scopes) => {
      const from = Math.floor(now() / 1000);
      const lifetimeSeconds = lifetimeOf(subject, options.ttlMs, now());
      const claims = { access: scopes, ...carryJob(subject) };
      const token = await sign('access', subject, claims, [from, from + lifetimeSeconds]);
      return { token, lifetimeSeconds, issuedAt: new Date(from * 1000).toISOString() };
    },
    verify: async (token) => {
      const key = keyedHash(token);
      const known = remembered.get(key);
      if (known !== undefined) {
        const current = now() < known.untilMs ? refresh(known) : undefined;
        if (current !== undefined) return current;
        remembered.delete(key);
      }
      const found = await read('access', token);
      if (typeof found === 'string') return found;
      const verified = describeAccess(found);
      if (verified === null) return 'invalid-token';
      const { subject, payload } = found;
      const untilMs = ((payload.exp ?? 0) + toleranceSeconds) * 1000;
      remembered.set(key, { verified, subject, untilMs }, { size: token.length });
      return verified;
    },
    verifyExpired: async (token) => {
      const found = await read('access', token, true);
      return typeof found === 'string' ? null : describeAccess(found);
    },
    issueRefresh: (subject) => {
      const from = Math.floor(now() / 1000);
      return sign('refresh', subject, {}, [from, from + Math.floor(options.refreshTtlMs / 1000)]);
    },
    verifyRefresh: async (token) => {
      const found = await read('refresh', token);
      if (typeof found === 'string') return null;
      return found.subject?.principal.kind === 'user' ? found.subject : null;
    },
  };
}

/** What a token carries of a job: its rights depend on its claims, which nothing here remembers. */
function carryJob(subject: TokenSubject): JWTPayload {
  if (subject?.principal.kind !== 'job') return {};
  const { issuer: system, claims } = subject.principal;
  return { job: { issuer: system, claims } };
}

/** Reads what {@link carryJob} wrote; undefined: no job; null: invalid. */
function readCarriedJob({ job: carried }: JWTPayload): Job | null | undefined {
  if (carried === undefined) return undefined;
  const { issuer: system, claims } = readObject(carried) ?? {};
  const content = readObject(claims);
  const job = typeof system === 'string' && content ? readJob(system, content) : '';
  return typeof job === 'string' ? null : job;
}

/** No token outlives its machine token or ID token. */
function lifetimeOf(subject: TokenSubject, ttlMs: number, nowMs: number): number {
  const leftMs = (subject?.expiresMs ?? Infinity) - nowMs;
  return Math.max(1, Math.floor(Math.min(ttlMs, leftMs) / 1000));
}

/**
 * Verifies that a token is signed by one of our keys, for this service, and not expired; its subject is not checked
 * yet.
 */
type SignedToken = { readonly payload: JWTPayload; readonly keySet: TokenKeySet };

function createSignatureCheck(
  keySets: readonly TokenKeySet[],
  service: string,
  now: () => number,
): (kind: TokenKind, token: string, mayHaveExpired: boolean) => Promise<SignedToken | TokenFault> {
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

/**
 * Binds a token to the user's line, or to the machine token: when that is removed, or its hash changes, the token is
 * invalid everywhere.
 */
function bindLine({ line }: TokenKeySet, { principal, hash }: TokenHolder): string {
  const text = principalText(principal);
  // The name's length goes first: else "ab" with "c" and "a" with "bc" would be one.
  return createHmac('sha256', line).update(`${text.length}:${text}${hash}`).digest('base64url');
}

/** What an access token says; null: not what {@link RegistryTokens.issue} writes. */
function describeAccess({ subject, payload }: ReadToken): VerifiedToken | null {
  const scopes = readScopes(payload['access']);
  const { jti: id } = payload;
  if (scopes === null || typeof id !== 'string') return null;
  return { principal: subject?.principal ?? anonymous, scopes, id };
}

/** The claim as {@link RegistryTokens.issue} writes it; null: it is something else. */
function readScopes(claim: unknown): readonly Scope[] | null {
  const isScope = (item: Partial<Record<keyof Scope, unknown>> | null) =>
    item !== null &&
    (item.type === 'repository' || item.type === 'registry') &&
    typeof item.name === 'string' &&
    Array.isArray(item.actions);
  return Array.isArray(claim) && claim.every(isScope) ? (claim as readonly Scope[]) : null;
}
