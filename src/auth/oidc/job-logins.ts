import type { Logger } from 'pino';
import { OciError } from '../../registry/error.ts';
import { principalText, type Job } from '../../registry/principal.ts';
import type { LoginThrottle } from '../throttle/login-throttle.ts';
import type { IdTokenFault, IdTokens } from './id-tokens.ts';
import { KeysUnavailable, refetchMs } from './issuer-keys.ts';

/** The user name that jobs log in with. */
export const jobUser = 'oidc';

export type JobLogin =
  | { readonly kind: 'verified'; readonly principal: Job }
  | { readonly kind: 'refused'; readonly reason: IdTokenFault['reason'] }
  | { readonly kind: 'locked-out'; readonly forMs: number };

/** Authenticates jobs by their ID tokens. */
export type JobLogins = {
  /** @throws OciError UNAVAILABLE when the issuer's keys are unknown, which counts as no failure */
  check(token: string, address: string): Promise<JobLogin>;
  /** Call it when an authenticated job is refused because no rule of the policy allows it anything. */
  refusedWithoutRule(job: Job, address: string): void;
  /** When the token of an authenticated job expires, in milliseconds since 1970; undefined: another object. */
  expiryOf(job: Job): number | undefined;
};

/** The log says at most once in this time why tokens of one issuer are refused, for each reason, and names each job without a rule. */
const reportEveryMs = 60_000;
/** So many jobs are named in that time: anybody's project has jobs, of any name. */
const maxNamed = 20;

/**
 * Creates the check of ID tokens. A valid one passes despite a lock-out: nobody guesses a signature. Only a wrong
 * signature counts, by address: no other token guesses anything, and all jobs of a CI system may share an address.
 */
export function createJobLogins(options: {
  idTokens: IdTokens;
  throttle: LoginThrottle;
  logger: Pick<Logger, 'warn'>;
  /** A clock in milliseconds. */
  now: () => number;
}): JobLogins {
  const { idTokens, throttle, logger, now } = options;
  const expiries = new WeakMap<Job, number>();
  const mayReportFault = createReportLimit(now, Infinity);
  const mayNameJob = createReportLimit(now, maxNamed);

  const report = (address: string, { reason, issuer, sentence }: IdTokenFault) => {
    if (!mayReportFault(`${reason} ${issuer ?? ''}`)) return;
    const whose = issuer === null ? 'An ID token' : `An ID token of the issuer ${issuer}`;
    logger.warn({ client: address, issuer, reason }, `${whose} was refused: ${sentence}.`);
  };

  const refuse = async (token: string, address: string, fault: IdTokenFault): Promise<JobLogin> => {
    const { reason } = fault;
    const attempt = await throttle.begin({ address, name: null, password: token, hash: '', isUser: false });
    const forMs = throttle.lockedMs(attempt);
    if (forMs > 0) {
      throttle.refused(attempt);
      return { kind: 'locked-out', forMs };
    }
    report(address, fault);
    if (reason === 'wrong-signature') await throttle.failed(attempt);
    return { kind: 'refused', reason };
  };

  return {
    check: async (token, address) => {
      const result = await verify(idTokens, token);
      if ('reason' in result) return refuse(token, address, result);
      expiries.set(result.job, result.expiresMs);
      return { kind: 'verified', principal: result.job };
    },
    refusedWithoutRule: (job, address) => {
      const [reason, text] = ['no-rule-for-job', principalText(job)];
      if (!mayNameJob(text)) return;
      logger.warn(
        { client: address, issuer: job.issuer, reason, job: text },
        `A token of ${text} was refused: no rule of the policy is for it.`,
      );
    },
    expiryOf: (job) => expiries.get(job),
  };
}

/** Creates what allows one report of each kind, and so many in all, in {@link reportEveryMs}. */
function createReportLimit(now: () => number, max: number): (kind: string) => boolean {
  const quietUntilMs = new Map<string, number>();
  return (kind) => {
    const nowMs = now();
    if (nowMs < (quietUntilMs.get(kind) ?? -Infinity)) return false;
    if (quietUntilMs.size >= max)
      for (const [known, untilMs] of quietUntilMs) if (untilMs <= nowMs) quietUntilMs.delete(known);
    if (quietUntilMs.size >= max) return false;
    quietUntilMs.set(kind, nowMs + reportEveryMs);
    return true;
  };
}

async function verify(idTokens: IdTokens, token: string): ReturnType<IdTokens['verify']> {
  try {
    return await idTokens.verify(token);
  } catch (error) {
    if (!(error instanceof KeysUnavailable)) throw error;
    throw new OciError('UNAVAILABLE', "The issuer's keys are not known now: try again in a moment.", {
      headers: { 'Retry-After': String(refetchMs / 1000) },
      cause: error,
    });
  }
}
