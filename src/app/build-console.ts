import type { Logger } from 'pino';
import { personalTokensPath } from '../auth/machine-tokens/personal-tokens.ts';
import { isCleaned as readIsCleaned } from '../config/schema/is-cleaned.ts';
import { createAuthorityReader } from '../console/changes/authority.ts';
import { createChangeAudit } from '../console/changes/change-audit.ts';
import { createCleanUp } from '../console/changes/clean-up.ts';
import { createOwnPassword } from '../console/changes/own-password.ts';
import { createOwnTokens } from '../console/changes/own-tokens.ts';
import { createConsole } from '../console/console.ts';
import { createChromeOf } from '../console/places/chrome-of.ts';
import { createConsolePages } from '../console/places/console-pages.tsx';
import type { ConsolePages } from '../console/visit.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import type { AnswerConsole } from '../pipeline/answer-console.ts';
import type { WholeAnswers } from '../pipeline/whole-answers.ts';
import type { Policy } from '../policy/decision.ts';
import { createOpenPolicy } from '../policy/token-grants.ts';
import { isPubliclyTrusted } from '../tls/public-trust.ts';
import type { Jobs } from './identity/jobs.ts';
import type { ServedState } from './served-state.ts';
import { createTokenHolders } from './identity/token-holders.ts';
import type { Users } from './identity/users.ts';

/** What the console of a service is made from. */
export type ConsoleParts = {
  readonly state: ServedState;
  readonly users: Users;
  readonly jobs: Jobs | null;
  readonly policy: Policy | null;
  /** Null: nothing is known but what the registry says. */
  readonly lists: RepositoryLists | null;
  readonly sessionSecret: Buffer;
  readonly wholeAnswers: WholeAnswers;
  readonly logger: Logger;
  readonly now: () => number;
};

/** Builds the console. */
export function buildConsole(options: ConsoleParts): AnswerConsole {
  const { users, policy, wholeAnswers, logger } = options;
  const { config, pem } = options.state;
  const { auth, limits } = config;
  const holders = createTokenHolders(users, options.jobs);
  const [first = options.sessionSecret, ...others] = pem.tokenSecrets;
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
      now: options.now,
    },
    pages: openPages(options),
    isPublic: () => (isPublic ??= isPubliclyTrusted(pem.cert)),
    ...{ wholeAnswers, logger },
  });
}

function openPages({ state: { config, pem }, users, lists, logger, ...options }: ConsoleParts): ConsolePages {
  const { auth, clean, groups, state } = config;
  const policy = options.policy ?? createOpenPolicy();
  const isCleaned = readIsCleaned(config);
  const now = Date.now;
  return createConsolePages({
    ...{ policy, lists, isCleaned },
    chromeOf: createChromeOf({ policy, isCleaned, now }),
    texts: { policy: config.policy, groups },
    password: createOwnPassword({
      file: auth.htpasswd,
      authenticator: users.authenticator,
      pool: users.pool,
      presentHash: (name) => users.htpasswd.lookup(name)?.hash,
    }),
    tokens: createOwnTokens({
      file: personalTokensPath(state.dir),
      operators: auth.machineTokens,
      inEffect: users.tokenFiles,
      hasUser: (name) => users.htpasswd.lookup(name) !== undefined,
      isInEffect: (name) => users.machines.find(name) !== undefined,
      ...{ policy, now },
    }),
    cleanUp: createCleanUp({ socket: clean.socket, isCleaned, now }),
    audit: config.log.audit ? createChangeAudit(logger) : null,
    readAuthority: createAuthorityReader(pem.cert, pem.origin === 'files' ? config.tls.cert : null),
  });
}
