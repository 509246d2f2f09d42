import type { Logger } from 'pino';
import { createConsole } from '../console/console.ts';
import { plainPages } from '../console/pages/plain-pages.tsx';
import type { AnswerConsole } from '../pipeline/answer-console.ts';
import type { WholeAnswers } from '../pipeline/whole-answers.ts';
import type { Policy } from '../policy/decision.ts';
import { isPubliclyTrusted } from '../tls/public-trust.ts';
import type { Jobs } from './jobs.ts';
import type { ServedState } from './served-state.ts';
import { createTokenHolders } from './token-holders.ts';
import type { Users } from './users.ts';

/** Opens the console; null: there is to be none. */
export function openConsole({
  state: { config, pem },
  users,
  jobs,
  policy,
  sessionSecret,
  wholeAnswers,
  logger,
  now,
}: {
  readonly state: ServedState;
  readonly users: Pick<Users, 'authenticator' | 'htpasswd' | 'machines'>;
  readonly jobs: Jobs | null;
  readonly policy: Policy | null;
  readonly sessionSecret: Buffer;
  readonly wholeAnswers: WholeAnswers;
  readonly logger: Logger;
  readonly now: () => number;
}): AnswerConsole | null {
  const { auth, limits } = config;
  if (!config.console.enabled) return null;
  const holders = createTokenHolders(users, jobs);
  const [first = sessionSecret, ...others] = pem.tokenSecrets;
  let isPublic: boolean | undefined;
  return createConsole({
    session: {
      secrets: [first, ...others],
      ttlMs: config.console.sessionTtl,
      findHolder: holders.find,
      now: Date.now,
    },
    authenticator: users.authenticator,
    holderOf: holders.ofVerified,
    lockedOutDelayMs: auth.throttle.answerDelay,
    anonymousAt: policy?.hasAnonymous === true ? policy.anonymousAt : null,
    form: { maxBytes: limits.consoleFormBytes, timeoutMs: limits.headerTimeout },
    registry: {
      maxAtOnce: limits.consoleRequests,
      maxBytes: limits.consoleBytes,
      timeoutMs: limits.consoleTimeout,
      now,
    },
    pages: plainPages,
    isPublic: () => (isPublic ??= isPubliclyTrusted(pem.cert)),
    ...{ wholeAnswers, logger },
  });
}
