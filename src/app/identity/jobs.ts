import type { Logger } from 'pino';
import { createIdTokens, type ProvenJob } from '../../auth/oidc/id-tokens.ts';
import type { IssuerKeysPool } from '../../auth/oidc/issuer-keys-pool.ts';
import { createJobLogins, type JobLogins } from '../../auth/oidc/job-logins.ts';
import type { LoginThrottle } from '../../auth/throttle/login-throttle.ts';
import type { TokenHolder } from '../../auth/tokens/registry-tokens.ts';
import type { ServedState } from '../served-state.ts';

type Job = ProvenJob['job'];

/** The jobs that may log in under one configuration. */
export type Jobs = {
  readonly logins: Pick<JobLogins, 'check' | 'refusedWithoutRule'>;
  /** The binding of a token from /token for a job that has just logged in; undefined once its ID token has expired. */
  issueFor(job: Job): TokenHolder | undefined;
  /** The same binding for a job that comes back with it; undefined without its issuer. */
  holderOf(job: Job): TokenHolder | undefined;
  /** Call once. */
  release(): void;
};

/** Opens the issuers of a configuration; null: it has none. */
export function openJobs(
  { config, pem }: ServedState,
  options: { issuerKeys: IssuerKeysPool; throttle: LoginThrottle; logger: Logger },
): Jobs | null {
  const { auth, limits } = config;
  if (auth.oidc.length === 0) return null;
  const issuers = auth.oidc.map(({ name, issuer, audience, jwks, ca: path }) => {
    const ca = path === null ? null : (pem.issuerCas[path] ?? null);
    const bounds = { timeoutMs: limits.oidcTimeout, maxBytes: limits.oidcDocumentBytes };
    return { name, issuer, audience, keys: options.issuerKeys.open({ name, issuer, jwks, ca, ...bounds }) };
  });
  const idTokens = createIdTokens({
    issuers,
    maxTokenLength: limits.oidcTokenBytes,
    maxRemembered: auth.credentialEntries,
    now: Date.now,
  });
  const logins = createJobLogins({
    ...{ idTokens, throttle: options.throttle, logger: options.logger },
    now: () => performance.now(),
  });
  const holderOf = (job: Job): TokenHolder | undefined => {
    const found = issuers.find(({ name }) => name === job.issuer);
    // With another issuer or audience under the same name, its tokens end.
    return found && { principal: job, hash: `${found.issuer} ${found.audience}`, expiresMs: null };
  };
  return {
    logins,
    holderOf,
    issueFor: (job) => {
      const holder = holderOf(job);
      const expiresMs = logins.expiryOf(job);
      return holder && expiresMs !== undefined && expiresMs > Date.now()
        ? { ...holder, expiresMs }
        : undefined;
    },
    release: () => {
      for (const { keys } of issuers) keys.release();
    },
  };
}
