import { createHmac } from 'node:crypto';
import type { JWTPayload } from 'jose';
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
import type { TokenKeySet } from './token-secrets.ts';
import {
  createTokenSignatures,
  toleranceSeconds,
  type TokenFault,
  type TokenKind,
  type TokenSignaturesOptions,
} from './token-signatures.ts';

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

export type RegistryTokensOptions = TokenSignaturesOptions & {
  readonly ttlMs: number;
  readonly refreshTtlMs: number;
  /** How many verified tokens are remembered. */
  readonly maxRemembered: number;
  /** Who has this text as a principal now; undefined: nobody, or not any more. */
  readonly findHolder: (text: string) => TokenHolder | undefined;
  /** The same for a job, whom its token carries; left out: no job may log in. */
  readonly holderOfJob?: ((job: Job) => TokenHolder | undefined) | undefined;
};

/** More than one of a few scopes has: as many characters of tokens as this for each that may be remembered are remembered in all. */
const usualTokenLength = 1024;

/** Whom a token is for, and its claims. */
type ReadToken = { readonly subject: TokenSubject; readonly payload: JWTPayload };

type Remembered = {
  readonly verified: VerifiedToken;
  readonly subject: TokenSubject;
  readonly untilMs: number;
};

/** Creates what issues tokens, and says what the holder of one may still do. */
export function createRegistryTokens(options: RegistryTokensOptions): RegistryTokens {
  const { now } = options;
  const signatures = createTokenSignatures(options);
  const { signing } = signatures;
  const findHolder = (who: string | Job) =>
    typeof who === 'string' ? options.findHolder(who) : options.holderOfJob?.(who);
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
  ) => {
    const bound = { ...claims, ...(subject && { line: bindLine(signing, subject) }) };
    return signatures.sign(kind, principalText(subject?.principal ?? anonymous) ?? '', bound, ...seconds);
  };

  /** Verifies a token of that kind; returns its subject and claims. */
  const read = async (
    kind: TokenKind,
    token: string,
    mayHaveExpired = false,
  ): Promise<ReadToken | TokenFault> => {
    const signed = await signatures.verify(kind, token, mayHaveExpired);
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
