import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import {
  createAnswerCache,
  type AnswerCache,
  type AnswerCacheOptions,
  type CacheCounters,
} from '../cache/answer-cache.ts';
import type { IssuerKeysPool } from '../auth/oidc/issuer-keys-pool.ts';
import type { LoginThrottle } from '../auth/throttle/login-throttle.ts';
import type { Config } from '../config/schema/schema.ts';
import type { CacheStore } from '../cache/stores/store.ts';
import { type Metrics } from '../telemetry/metrics/metrics.ts';
import { createRelayBudget } from '../upstream/body/relay-budget.ts';
import { createForwarder } from '../upstream/forward.ts';
import { createRequestUpstream, createFetch } from '../upstream/request.ts';
import { createUpstream } from '../upstream/connections.ts';
import { createPolicy } from '../policy/policy.ts';
import { createAudit } from '../pipeline/serve/audit.ts';
import { createClientAddresses, type ClientAddresses } from '../http/client-address.ts';
import { createCors } from '../pipeline/cors.ts';
import { createDeleteGate, type DeleteGate } from '../pipeline/serve/delete-gate.ts';
import {
  createImmutableTags,
  type GuardTags,
  type ImmutableTagsOptions,
} from '../pipeline/tag-rules/immutable-tags.ts';
import { createAuthStages } from './auth-stages.ts';
import { openJobs } from './jobs.ts';
import { type Deletes } from './open-deletes.ts';
import type { ServedState } from './served-state.ts';
import type { RepositoryLocks } from '../locks/repository-locks.ts';
import { createPublicNames } from '../pipeline/public-names.ts';
import { createEditsFor } from '../pipeline/response-edits.ts';
import { createPipeline, type Pipeline } from '../pipeline/pipeline.ts';
import { createWholeAnswers } from '../pipeline/whole-answers.ts';
import { createRefusedBodies } from '../pipeline/refused-bodies.ts';
import { createBlobStorage, findStorageFault, type BlobStorage } from '../storage/blob-storage.ts';
import { type Users } from './users.ts';

/** Everything that answers requests with one state. */
export type Service = {
  readonly state: ServedState;
  readonly users: Users;
  readonly addresses: ClientAddresses;
  readonly pipeline: Pipeline;
  /** Marks it as replaced by another. */
  retire(): void;
  /** Call it once, when it has no request in progress. */
  free(): Promise<void>;
};

/** What outlives a service: a write through one must invalidate the answers of the next. */
export type Shared = {
  readonly store: CacheStore | null;
  readonly counters: CacheCounters;
  readonly locks: RepositoryLocks;
  readonly deletes: Deletes;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly sessionSecret: Buffer;
  readonly throttle: LoginThrottle;
  readonly issuerKeys: IssuerKeysPool;
};

/** Opens the service of a state. */
export async function openService(state: ServedState, users: Users, shared: Shared): Promise<Service> {
  const { config, pem } = state;
  const { listen, auth, limits } = config;
  const { metrics, logger, sessionSecret } = shared;
  const { authenticator } = users;
  const budget = createRelayBudget(limits.relayBytes);
  const upstream = createUpstream({
    ...config.upstream,
    ca: pem.upstreamCa,
    pieceBytes: budget.pieceBytes,
  });
  const upstreamOptions = {
    upstream,
    connectTimeoutMs: config.upstream.connectTimeout,
    readTimeoutMs: config.upstream.readTimeout,
  };
  const { authorization: upstreamAuthorization } = upstream;
  const gate = openDeleteGate(config, shared.deletes);
  const requestUpstream = gate.guardRequests(createRequestUpstream(upstreamOptions));
  const refusedBodies = createRefusedBodies({
    maxBytes: limits.refusedBodyBytes,
    timeoutMs: limits.refusedBodyTimeout,
    maxAtOnce: limits.refusedBodies,
  });
  const wholeAnswers = createWholeAnswers({ maxBytes: limits.wholeAnswerBytes, refusedBodies });
  const { room } = wholeAnswers;
  const fetch = createFetch(requestUpstream, upstreamAuthorization, room);
  const cache = openAnswerCache(config, shared, { fetch, room });
  const addresses = createClientAddresses(listen.trustedProxies);
  const blobs = await openStorage(config.upstream.storage, logger);
  const now = () => performance.now();
  const policy = config.policy && createPolicy({ rules: config.policy, groups: config.groups });
  const publicNames = createPublicNames({
    certificateNames: pem.names,
    listenPort: listen.port,
    upstreamUrl: upstream.url,
  });
  const jobs = openJobs(state, shared);
  const cors = createCors(config.cors.origins);
  const editsFor = createEditsFor({ publicNames, ownsCors: cors !== null });
  const pipeline = createPipeline({
    authenticator,
    ...createAuthStages({
      state,
      users,
      jobs,
      policy,
      sessionSecret,
      requestUpstream,
      editsFor,
      refusedBodies,
      wholeAnswers,
      metrics,
    }),
    guardTags: openImmutableTags(config, {
      policy,
      requestUpstream,
      upstreamAuthorization,
      locks: shared.locks,
    }),
    gate,
    forwarder: createForwarder({ ...upstreamOptions, budget }),
    cache,
    storage: blobs === null ? null : { blobs, requestUpstream },
    audit: config.log.audit
      ? createAudit({
          ...{ logger, requestUpstream, upstreamAuthorization, now },
          maxKeptBytes: limits.auditedBytes,
        })
      : null,
    addresses,
    logger,
    metrics,
    now,
    openPaths: new Set(auth.open),
    editsFor,
    cors,
    upstreamAuthorization,
    maxManifestBytes: limits.manifestBytes,
    uploadsPerUser: limits.uploadsPerUser,
    ...{ refusedBodies, wholeAnswers },
  });
  return {
    state,
    users,
    addresses,
    pipeline,
    retire: () => cache?.retire(),
    free: async () => {
      jobs?.release();
      await users.release();
      upstream.close();
    },
  };
}

function openDeleteGate({ limits }: Config, deletes: Deletes): DeleteGate {
  return createDeleteGate({
    ...deletes,
    waitMs: limits.deleteWait,
    maxDeletes: limits.deleteQueue,
    maxPerRepository: limits.heldPerRepository,
    maxInAll: limits.heldRequests,
  });
}

function openAnswerCache(
  { cache }: Config,
  { store, counters, logger }: Shared,
  parts: Pick<AnswerCacheOptions, 'fetch' | 'room'>,
): AnswerCache | null {
  if (store === null) return null;
  return createAnswerCache({
    ...{ ...parts, store, counters, logger },
    maxEntryBytes: cache.maxEntryBytes,
    storedFields: cache.headers,
    now: () => performance.now(),
  });
}

function openImmutableTags(
  { immutableTags: patterns, limits }: Config,
  parts: Pick<ImmutableTagsOptions, 'policy' | 'locks' | 'requestUpstream' | 'upstreamAuthorization'>,
): GuardTags | null {
  if (patterns.length === 0) return null;
  return createImmutableTags({
    ...parts,
    patterns,
    maxManifestBytes: limits.manifestBytes,
    maxRequests: limits.tagQuestions,
    maxListBytes: limits.tagListBytes,
    maxInquiries: limits.tagInquiries,
    maxKnownBytes: limits.tagContentBytes,
    lockWaitMs: limits.tagLockWait,
    maxWaiting: limits.tagLockQueue,
  });
}

/** Whether both states have equal services. */
export function servesAlike(one: ServedState, other: ServedState): boolean {
  const read = ({ config, pem }: ServedState) => [
    [config.listen, config.upstream, config.auth, config.cors, config.cache, config.limits],
    [config.groups, config.policy, config.immutableTags],
    [pem.upstreamCa, pem.issuerCas, pem.tokenSecrets, pem.names],
  ];
  return isDeepStrictEqual(read(one), read(other));
}

/** Whether upstream's answers, or their lifetime, may differ between the states. */
export function changesAnswers(before: ServedState, after: ServedState): boolean {
  const read = ({ config: { upstream, cache }, pem }: ServedState) => [
    upstream.url,
    upstream.username,
    upstream.password,
    pem.upstreamCa,
    cache.tagTtl,
  ];
  return !isDeepStrictEqual(read(before), read(after));
}

/**
 * Opens the registry's folder if configured; an unusable one is logged for the operator, and Tidegate serves without
 * it.
 */
async function openStorage(root: string | null, logger: Logger): Promise<BlobStorage | null> {
  if (root === null) return null;
  const fault = await findStorageFault(root);
  if (fault !== null) logger.warn(fault);
  return createBlobStorage({ root, now: () => performance.now(), logger });
}
