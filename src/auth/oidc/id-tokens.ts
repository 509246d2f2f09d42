import { compactVerify, errors } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Job } from '../../registry/principal.ts';
import { createKeyedHash } from '../keyed-hash.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import { readJob } from './job.ts';
import { readObject } from './json-object.ts';
import { signingAlgorithms } from './key-set.ts';

/** An issuer whose ID tokens are accepted. */
export type AcceptedIssuer = {
  /** Its name in the configuration. */
  readonly name: string;
  readonly issuer: string;
  /** The only audience that a token may have. */
  readonly audience: string;
  readonly keys: Pick<IssuerKeys, 'find' | 'generation'>;
};

/** A job, authenticated by an ID token. */
export type ProvenJob = {
  readonly job: Job;
  /** When the token expires, in milliseconds since 1970. */
  readonly expiresMs: number;
};

/** Why an ID token is refused; for the log. */
export type IdTokenFault = {
  readonly reason:
    | 'malformed-id-token'
    | 'unknown-issuer'
    | 'wrong-audience'
    | 'expired-id-token'
    | 'early-id-token'
    | 'unknown-key'
    | 'wrong-signature';
  /** The configured name of the token's issuer; null: unknown issuer. */
  readonly issuer: string | null;
  /** What is wrong. Quotes nothing of the token. */
  readonly sentence: string;
};

/** ID tokens of CI systems (OpenID Connect Core 1.0 section 2) as credentials. */
export type IdTokens = {
  /** @throws KeysUnavailable when the issuer's keys are unknown */
  verify(token: string): Promise<ProvenJob | IdTokenFault>;
};

export type IdTokensOptions = {
  readonly issuers: readonly AcceptedIssuer[];
  /** The longest accepted token, in characters. */
  readonly maxTokenLength: number;
  /** How many verified tokens are remembered. */
  readonly maxRemembered: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

/** Accepted clock difference to the issuer, in seconds. */
export const leewaySeconds = 60;
/** Remembered tokens have at most this many characters on average. */
const usualTokenLength = 2048;

const tokenForm = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Whether a text looks like a JWT (RFC 7519), and is no password. */
export function hasIdTokenForm(text: string): boolean {
  return /^eyJ[^.]*\.[^.]*\.[^.]*$/.test(text);
}

type Remembered = ProvenJob & {
  readonly from: AcceptedIssuer;
  readonly kid: string;
  readonly generation: number;
};

/** The content of a token before its signature is verified. */
type Unproven = ProvenJob & { readonly from: AcceptedIssuer; readonly kid: string; readonly alg: string };

/** Verifies ID tokens. Does the cheap checks first: only a token that passes them can cause a fetch of keys. */
export function createIdTokens(options: IdTokensOptions): IdTokens {
  const { now } = options;
  const keyedHash = createKeyedHash();
  const remembered = new LRUCache<string, Remembered>({
    max: options.maxRemembered,
    maxSize: options.maxRemembered * usualTokenLength,
  });

  return {
    verify: async (token) => {
      if (token.length > options.maxTokenLength)
        return malformed(null, `it is longer than ${options.maxTokenLength} characters`);
      const memoryKey = keyedHash(token);
      const known = remembered.get(memoryKey);
      if (known !== undefined) {
        const { from, kid, generation, expiresMs, job } = known;
        await from.keys.find(kid); // refreshes old keys: the issuer may have withdrawn this one
        if (generation === from.keys.generation() && now() < expiresMs + leewaySeconds * 1000)
          return { job, expiresMs };
        remembered.delete(memoryKey);
      }
      const unproven = readToken(token, options.issuers, Math.floor(now() / 1000));
      if ('reason' in unproven) return unproven;
      const { from, kid, alg, job, expiresMs } = unproven;
      const key = await from.keys.find(kid);
      if (key === null)
        return fault('unknown-key', from, 'it is signed with a key that the issuer does not publish');
      if (key.algorithm !== alg)
        return fault('wrong-signature', from, 'it names another algorithm than its key is for');
      const generation = from.keys.generation();
      try {
        await compactVerify(token, key.key, { algorithms: [key.algorithm] });
      } catch (error) {
        if (error instanceof errors.JOSEError)
          return fault('wrong-signature', from, 'its signature is wrong');
        throw error;
      }
      remembered.set(memoryKey, { from, kid, generation, job, expiresMs }, { size: token.length });
      return { job, expiresMs };
    },
  };
}

function fault(reason: IdTokenFault['reason'], from: AcceptedIssuer | null, sentence: string): IdTokenFault {
  return { reason, issuer: from?.name ?? null, sentence };
}

function malformed(from: AcceptedIssuer | null, sentence: string): IdTokenFault {
  return fault('malformed-id-token', from, sentence);
}

/** Parses a token and checks everything but its signature. */
function readToken(
  token: string,
  issuers: readonly AcceptedIssuer[],
  nowSeconds: number,
): Unproven | IdTokenFault {
  if (!tokenForm.test(token)) return malformed(null, 'it is no JWT');
  const [header, payload] = token.split('.').map(decodePart);
  if (!header || !payload) return malformed(null, 'it is no JWT');
  const { iss, aud } = payload;
  const ofIssuer = issuers.filter(({ issuer }) => issuer === iss);
  const [first] = ofIssuer;
  if (first === undefined) return fault('unknown-issuer', null, 'its issuer is none of auth.oidc');
  const { alg, kid, typ, crit } = header;
  // RFC 8725 section 3.1
  if (!signingAlgorithms.some((one) => one === alg))
    return malformed(first, `its algorithm is none of ${signingAlgorithms.join(', ')}`);
  if (typeof kid !== 'string') return malformed(first, 'it does not name its key (kid)');
  if (typ !== undefined && !(typeof typ === 'string' && /^jwt$/i.test(typ)))
    return malformed(first, 'its type (typ) is not JWT');
  if (crit !== undefined) return malformed(first, 'it demands extensions (crit)');
  const from = ofIssuer.find((one) => isAudience(aud, one.audience));
  if (from === undefined)
    return fault('wrong-audience', first, `it is not for the audience ${listAudiences(ofIssuer)} alone`);
  const times = checkTimes(payload, from, nowSeconds);
  if (typeof times !== 'number') return times;
  const job = readJob(from.name, payload);
  if (typeof job === 'string') return malformed(from, job);
  return { from, kid, alg: alg as string, job, expiresMs: times * 1000 };
}

/** Whether `aud` is exactly that audience: as text, or in a list of one. */
export function isAudience(aud: unknown, audience: string): boolean {
  return Array.isArray(aud) ? aud.length === 1 && aud[0] === audience : aud === audience;
}

/** Returns when the token expires, in seconds since 1970. */
function checkTimes(
  { exp, nbf, iat }: Readonly<Record<string, unknown>>,
  from: AcceptedIssuer,
  nowSeconds: number,
): number | IdTokenFault {
  if (!isTime(exp) || !isTime(iat) || !(nbf === undefined || isTime(nbf)))
    return malformed(from, 'it does not say since when it is good and how long (iat, exp)');
  if (nowSeconds >= exp + leewaySeconds)
    return fault('expired-id-token', from, `it expired ${Math.floor(nowSeconds - exp)} seconds ago`);
  const early = Math.max(iat, nbf ?? iat) - nowSeconds;
  if (early > leewaySeconds)
    return fault(
      'early-id-token',
      from,
      `it is good only in ${Math.ceil(early)} seconds: compare the clocks`,
    );
  return exp;
}

/** Seconds since 1970, small enough for exact sums. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < 2 ** 42;
}

function decodePart(part: string): Readonly<Record<string, unknown>> | null {
  try {
    return readObject(
      JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url'))),
    );
  } catch {
    return null;
  }
}

function listAudiences(issuers: readonly AcceptedIssuer[]): string {
  return issuers.map(({ audience }) => audience).join(' or ');
}
