import { isDeepStrictEqual } from 'node:util';
import { createBodyBuffers } from '../upstream/body/body-buffers.ts';
import { createRelayBudget } from '../upstream/body/relay-budget.ts';
import { createPolicy } from '../policy/policy.ts';
import { createClientAddresses, type ClientAddresses } from '../http/client-address.ts';
import { createCors } from '../pipeline/cors.ts';
import { createAuthStages } from './identity/auth-stages.ts';
import { openConsole } from './open-console.ts';
import { openJobs } from './identity/jobs.ts';
import type { ReadInventory } from '../inventory/reading/registry-reader.ts';
import { readRegistries } from './registry/inventory-registries.ts';
import { openInUse, type InUse } from './registry/open-in-use.ts';
import { openRegistry, type OpenRegistry } from './registry/open-registry.ts';
import { openRoutes } from './registry/open-routes.ts';
import type { ServedState } from './served-state.ts';
import type { Shared } from './shared.ts';
import { createPipeline, type Pipeline } from '../pipeline/pipeline.ts';
import { createWholeAnswers } from '../pipeline/whole-answers.ts';
import { createUploadLimit } from '../pipeline/upload-limit.ts';
import { createRefusedBodies } from '../pipeline/refused-bodies.ts';
import { type Users } from './identity/users.ts';

/** Everything that answers requests with one state. */
export type Service = {
  readonly state: ServedState;
  readonly users: Users;
  readonly addresses: ClientAddresses;
  readonly pipeline: Pipeline;
  /** The registry at `upstream`. */
  readonly upstream: Pick<OpenRegistry, 'requestUpstream' | 'authorization'>;
  /** Null: its registry is not cleaned up. */
  readonly inUse: InUse | null;
  readonly removeTag: OpenRegistry['removeTag'];
  /** Reads what the registries have, for the inventory. */
  readonly readInventory: ReadInventory;
  /** Marks it as replaced by another. */
  retire(): void;
  /** Call it once, when it has no request in progress. */
  free(): Promise<void>;
};

/**
 * Opens the service of a state.
 * @param last what the service before it knows; null: there is none
 */
export async function openService(
  state: ServedState,
  users: Users,
  shared: Shared,
  last: InUse | null,
): Promise<Service> {
  const { config, pem } = state;
  const { listen, auth, limits } = config;
  const { metrics, logger, sessionSecret } = shared;
  const { authenticator } = users;
  const budget = createRelayBudget(limits.relayBytes);
  const openBuffers = createBodyBuffers(budget);
  const refusedBodies = createRefusedBodies({
    maxBytes: limits.refusedBodyBytes,
    timeoutMs: limits.refusedBodyTimeout,
    maxAtOnce: limits.refusedBodies,
  });
  const wholeAnswers = createWholeAnswers({ maxBytes: limits.wholeAnswerBytes, refusedBodies });
  const addresses = createClientAddresses(listen.trustedProxies);
  const now = () => performance.now();
  const inUse = openInUse(config, last);
  const policy = config.policy && createPolicy({ rules: config.policy, groups: config.groups });
  const limitUploads = createUploadLimit(limits.uploadsPerUser, () => metrics.throttled('uploads'));
  const opening = {
    state,
    shared,
    authenticator,
    policy,
    budget,
    openBuffers,
    refusedBodies,
    wholeAnswers,
    limitUploads,
    now,
  };
  const upstream = await openRegistry({
    ...opening,
    at: config.upstream,
    ca: pem.upstreamCa,
    routed: null,
    inUse,
  });
  const routed = await openRoutes(upstream, opening);
  const registries = [upstream, ...(routed?.registries ?? [])];
  const jobs = openJobs(state, shared);
  const pipeline = createPipeline({
    ...createAuthStages({
      ...{ state, users, jobs, policy, sessionSecret, refusedBodies, wholeAnswers, metrics },
      ...{ logger, now },
      requestUpstream: upstream.requestUpstream,
      listedRegistries: routed?.listed ?? null,
      editsFor: upstream.editsFor,
    }),
    answerConsole: openConsole({
      ...{ state, users, jobs, policy, sessionSecret, wholeAnswers, logger, now },
      lists: shared.lists,
    }),
    serve: upstream.serve,
    routes: routed?.routes ?? null,
    usage: shared.usage,
    addresses,
    logger,
    metrics,
    now,
    openPaths: new Set(auth.open),
    cors: createCors(config.cors.origins),
    upstreamAuthorization: upstream.authorization,
    refusedBodies,
  });
  return {
    state,
    users,
    addresses,
    pipeline,
    upstream,
    inUse,
    removeTag: upstream.removeTag,
    readInventory: readRegistries(upstream, routed?.listed ?? null),
    retire: () => {
      for (const registry of registries) registry.retire();
    },
    free: async () => {
      jobs?.release();
      await users.release();
      for (const registry of registries) registry.close();
    },
  };
}

/** Whether both states have equal services. */
export function servesAlike(one: ServedState, other: ServedState): boolean {
  const read = ({ config, pem }: ServedState) => [
    [config.listen, config.upstream, config.routes, config.auth, config.cors, config.cache, config.limits],
    [config.groups, config.policy, config.immutableTags, config.console],
    [
      config.console.enabled && pem.cert,
      pem.upstreamCa,
      pem.routeCas,
      pem.issuerCas,
      pem.tokenSecrets,
      pem.names,
    ],
  ];
  return isDeepStrictEqual(read(one), read(other));
}

/** Whether upstream's answers, or their lifetime, may differ between the states. */
export function changesAnswers(before: ServedState, after: ServedState): boolean {
  const read = ({ config: { upstream, routes, cache }, pem }: ServedState) => [
    [upstream, ...routes.map((route) => route.upstream)].map(({ url, username, password }) => [
      url,
      username,
      password,
    ]),
    [pem.upstreamCa, pem.routeCas],
    cache.tagTtl,
  ];
  return !isDeepStrictEqual(read(before), read(after));
}
