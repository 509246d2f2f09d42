import type { Logger } from 'pino';
import type { ServedState } from '../served-state.ts';
import { createRegistryTokens } from '../../auth/tokens/registry-tokens.ts';
import type { Metrics } from '../../telemetry/metrics/metrics.ts';
import { mayDoAnything, type Policy } from '../../policy/decision.ts';
import type { Job } from '../../registry/principal.ts';
import { createOpenPolicy } from '../../policy/token-grants.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import { createAuthenticate, type Authenticate } from '../../pipeline/authenticate/authenticate.ts';
import { authenticateJobs } from '../../pipeline/authenticate/job-stage.ts';
import { authorizeMachines, createAuthorize } from '../../pipeline/authorize/authorize.ts';
import { createBearerChallenge } from '../../pipeline/authenticate/bearer-challenge.ts';
import { createBasicChallenge } from '../../pipeline/authenticate/challenge.ts';
import {
  createListings,
  type AnswerListing,
  type ListingsOptions,
} from '../../pipeline/authorize/catalog/listings.ts';
import { createPageCursors } from '../../pipeline/authorize/catalog/page-cursors.ts';
import { createRoutePages } from '../../pipeline/authorize/catalog/route-pages.ts';
import type { ListedRegistry } from '../../pipeline/routes/listed-registries.ts';
import type { PipelineOptions } from '../../pipeline/pipeline.ts';
import type { EditsFor } from '../../pipeline/response-edits.ts';
import type { RefusedBodies } from '../../pipeline/refused-bodies.ts';
import { createTokenEndpoint } from '../../pipeline/authenticate/token-endpoint.ts';
import {
  authenticateTokens,
  authorizeTokens,
  markUploads,
} from '../../pipeline/authenticate/token-stages.ts';
import { createUploadOwners } from '../../pipeline/authorize/upload-owners.ts';
import { createWalks } from '../../pipeline/authorize/catalog/walks.ts';
import type { WholeAnswers } from '../../pipeline/whole-answers.ts';
import type { Jobs } from './jobs.ts';
import { createTokenHolders } from './token-holders.ts';
import type { Users } from './users.ts';

/** The stages that authenticate and authorize. */
type AuthStages = Pick<PipelineOptions, 'authenticate' | 'authorize' | 'challenge' | 'answerToken'>;

/** How many different lists of one client may wait: more than any client requests at once. */
const waitingWalksOfClient = 4;

/**
 * Creates the stages, with or without tokens, as configured; `sealKey` replaces keys that the configuration does not
 * name.
 */
export function createAuthStages({
  state: { config, pem },
  users: { authenticator, htpasswd, machines },
  jobs,
  policy,
  sessionSecret,
  requestUpstream,
  listedRegistries,
  editsFor,
  refusedBodies,
  wholeAnswers,
  metrics,
  logger,
  now,
}: {
  state: ServedState;
  users: Pick<Users, 'authenticator' | 'htpasswd' | 'machines'>;
  /** Null: no issuer of ID tokens is configured. */
  jobs: Jobs | null;
  policy: Policy | null;
  sessionSecret: Buffer;
  requestUpstream: RequestUpstream;
  /** Null: there are no routes. */
  listedRegistries: readonly ListedRegistry[] | null;
  editsFor: EditsFor;
  refusedBodies: RefusedBodies;
  wholeAnswers: WholeAnswers;
  metrics: Pick<Metrics, 'throttled'>;
  logger: Logger;
  now: () => number;
}): AuthStages {
  const { auth, limits } = config;
  const anonymousAt = policy?.hasAnonymous === true ? policy.anonymousAt : null;
  const givesTokens = auth.tokens === 'on' || (auth.tokens === 'auto' && anonymousAt !== null);
  const basic = createBasicChallenge(auth.realm);
  const challenge = givesTokens ? createBearerChallenge(auth.realm, basic) : basic;
  const { versionCheck, challengeAgents, openAgents } = auth;
  const authenticatePasswords = createAuthenticate({
    ...{
      authenticator,
      challenge,
      anonymousAt,
      versionCheck,
      challengeAgents,
      openAgents,
    },
    lockedOutDelayMs: auth.throttle.answerDelay,
  });
  const decides = policy ?? createOpenPolicy();
  const jobStage = jobs && {
    ...{ logins: jobs.logins, challenge, versionCheck },
    mayDoAnything: (job: Job) => mayDoAnything(decides, job),
    maxTokenLength: limits.oidcTokenBytes,
    lockedOutDelayMs: auth.throttle.answerDelay,
  };
  const withJobs = (next: Authenticate) => (jobStage === null ? next : authenticateJobs(next, jobStage));
  const authenticate = withJobs(authenticatePasswords);
  const [first = sessionSecret, ...others] = pem.tokenSecrets;
  const secrets = [first, ...others] as const;
  const uploads = createUploadOwners(secrets, { graceMs: auth.uploadGrace, now: Date.now });
  const answerListing = openListings(limits, metrics, {
    requestUpstream,
    editsFor,
    wholeAnswers,
    cursors: createPageCursors(secrets),
    merged: listedRegistries && {
      registries: listedRegistries,
      pages: createRoutePages({
        timeoutMs: limits.routeListTimeout,
        pauseMs: limits.routePause,
        maxPageBytes: limits.catalogPageBytes,
        ...{ logger, now },
      }),
      cursors: createPageCursors(secrets, 'page cursor of all registries'),
    },
  });
  const mergesLists = listedRegistries !== null;
  const authorizeAll = createAuthorize({ policy: decides, challenge, uploads, answerListing, mergesLists });
  const authorize = policy === null ? authorizeMachines(authorizeAll, mergesLists) : authorizeAll;
  if (!givesTokens) return { authenticate, authorize, challenge, answerToken: null };
  const holders = createTokenHolders({ authenticator, htpasswd, machines }, jobs);
  const tokens = createRegistryTokens({
    secrets,
    service: auth.realm,
    ttlMs: auth.tokenTtl,
    refreshTtlMs: auth.refreshTokenTtl,
    maxRemembered: auth.credentialEntries,
    findHolder: holders.find,
    holderOfJob: holders.ofJob,
    now: Date.now,
  });
  return {
    authenticate: withJobs(
      authenticateTokens(authenticatePasswords, {
        ...{ tokens, challenge, versionCheck, uploads },
        anonymousAt,
      }),
    ),
    authorize: authorizeTokens(
      policy === null ? markUploads(authorize, { uploads, marks: auth.uploadGrace > 0 }) : authorize,
      { challenge },
    ),
    challenge,
    answerToken: createTokenEndpoint({
      ...{ tokens, authenticate, policy: decides },
      holderOf: holders.ofVerified,
      service: auth.realm,
      givesRefreshTokens: auth.refreshTokenTtl > 0,
      keepsKeys: pem.tokenSecrets.length > 0,
      maxFormBytes: limits.tokenFormBytes,
      formTimeoutMs: limits.headerTimeout,
      refusedBodies,
    }),
  };
}

function openListings(
  limits: ServedState['config']['limits'],
  metrics: Pick<Metrics, 'throttled'>,
  options: Pick<ListingsOptions, 'requestUpstream' | 'merged' | 'editsFor' | 'wholeAnswers' | 'cursors'>,
): AnswerListing {
  return createListings({
    ...options,
    walks: createWalks({
      maxUnderWay: limits.catalogWalks,
      maxWaiting: limits.catalogQueue,
      maxWaitingOfClient: Math.min(waitingWalksOfClient, limits.catalogQueue),
      onThrottled: () => metrics.throttled('lists'),
    }),
    maxPages: limits.catalogPages,
    maxPageBytes: limits.catalogPageBytes,
  });
}
