import { parseBasicCredentials } from '../../auth/basic-credentials.ts';
import { hasIdTokenForm } from '../../auth/oidc/id-tokens.ts';
import { jobUser, type JobLogins } from '../../auth/oidc/job-logins.ts';
import { hasRegistryTokenForm } from '../../auth/tokens/token-signatures.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Job } from '../../registry/principal.ts';
import type { VersionCheckMode } from '../../registry/version-check.ts';
import type { Exchange } from '../exchange.ts';
import { refuseLockedOut, wrongCredentials, type Authenticate, type Authentication } from './authenticate.ts';
import type { Challenge } from './challenge.ts';
import { bearerForm, isOpen } from './token-stages.ts';

/** What the Basic credentials of a job begin with: base64 of `oidc:e`, and each JWT begins with `e`. */
const basicPrefix = /^basic +b2lkYzpl/i;

/** Authenticates jobs by ID tokens, as password of the user `oidc` or as Bearer; leaves the rest to `authenticate`. */
export function authenticateJobs(
  authenticate: Authenticate,
  options: {
    logins: Pick<JobLogins, 'check' | 'refusedWithoutRule'>;
    /** Whether the policy may allow a job anything. Every project of a public CI system can get a valid token. */
    mayDoAnything: (job: Job) => boolean;
    challenge: Challenge;
    versionCheck: VersionCheckMode;
    maxTokenLength: number;
    lockedOutDelayMs: number;
  },
): Authenticate {
  const { logins, mayDoAnything, challenge, versionCheck, maxTokenLength, lockedOutDelayMs } = options;
  const refuseWithoutRule = (exchange: Exchange, authentication: Authentication): Authentication => {
    const { principal } = authentication;
    if (principal.kind !== 'job' || mayDoAnything(principal)) return authentication;
    exchange.reason = 'no-rule-for-job';
    logins.refusedWithoutRule(principal, exchange.clientAddress);
    throw wrongCredentials(challenge(exchange), 'No rule of the policy is for this job.');
  };
  return async (
    exchange,
    operation,
    authorization = headerValues(exchange.req.rawHeaders, 'authorization'),
  ) => {
    const [value = '', ...others] = authorization;
    const token =
      others.length > 0 || isOpen(operation, versionCheck) ? null : findIdToken(value, maxTokenLength);
    if (token === null)
      return refuseWithoutRule(exchange, await authenticate(exchange, operation, authorization));
    const result = await logins.check(token, exchange.clientAddress);
    switch (result.kind) {
      case 'verified': {
        const { principal } = result;
        return refuseWithoutRule(exchange, {
          principal,
          isAnonymous: false,
          keepAuthorization: false,
          scopes: null,
        });
      }
      case 'locked-out':
        return refuseLockedOut(exchange, result.forMs, lockedOutDelayMs);
      case 'refused':
        exchange.reason = result.reason;
        throw wrongCredentials(challenge(exchange));
    }
  };
}

/** The ID token in an Authorization value; null: there is none. */
function findIdToken(value: string, maxLength: number): string | null {
  const bearer = bearerForm.exec(value)?.[1];
  if (bearer !== undefined) return hasIdTokenForm(bearer) && !hasRegistryTokenForm(bearer) ? bearer : null;
  if (!basicPrefix.test(value)) return null;
  const basic = parseBasicCredentials(value, maxLength);
  if (basic.kind !== 'credentials' || basic.name !== jobUser) return null;
  return hasIdTokenForm(basic.password) ? basic.password : null;
}
