import type { Logger } from 'pino';
import type { Authenticator } from '../../auth/authenticator.ts';
import { createAnswerCache, type AnswerCache, type AnswerCacheOptions } from '../../cache/answer-cache.ts';
import type { Config } from '../../config/schema/schema.ts';
import { createAudit } from '../../pipeline/serve/audit.ts';
import {
  createDeleteGate,
  type DeleteGate,
  type DeleteGateOptions,
} from '../../pipeline/serve/delete-gate.ts';
import { createPushGuard, type GuardPush } from '../../pipeline/serve/push-guard.ts';
import { createPutBack, type PutBackOptions } from '../../pipeline/serve/put-back.ts';
import { createUpstreamHeaders } from '../../pipeline/serve/request-for-upstream.ts';
import { createPauseWrites } from '../../pipeline/serve/pause-writes.ts';
import { createServe, type Serve, type ServeOptions } from '../../pipeline/serve/serve.ts';
import {
  createImmutableTags,
  type GuardTags,
  type ImmutableTagsOptions,
} from '../../pipeline/tag-rules/immutable-tags.ts';
import { createPublicNames } from '../../pipeline/public-names.ts';
import { createEditsFor, type EditsFor } from '../../pipeline/response-edits.ts';
import type { RefusedBodies } from '../../pipeline/refused-bodies.ts';
import {
  describeRouteErrors,
  routePorts,
  type RegistryPorts,
  type RoutedParts,
} from '../../pipeline/routes/route-ports.ts';
import { createRouteStages } from '../../pipeline/routes/route-stages.ts';
import { createDeleteTag } from '../../pipeline/tag-delete/delete-tag.ts';
import { createHiddenTombstones } from '../../pipeline/tag-delete/hidden-tombstones.ts';
import { createUpstreamWarnings } from '../../pipeline/upstream-warnings.ts';
import type { WholeAnswers } from '../../pipeline/whole-answers.ts';
import type { Policy } from '../../policy/decision.ts';
import { createBlobStorage, findStorageFault, type BlobStorage } from '../../storage/blob-storage.ts';
import type { BodyBuffers } from '../../upstream/body/body-buffers.ts';
import type { RelayBudget } from '../../upstream/body/relay-budget.ts';
import { createUpstream } from '../../upstream/connections.ts';
import { createForwarder } from '../../upstream/forward.ts';
import { createFetch, createRequestUpstream, type RequestUpstream } from '../../upstream/request.ts';
import type { InUse } from './open-in-use.ts';
import { openTagDelete, type OpenTagDelete } from './open-tag-delete.ts';
import type { ServedState } from '../served-state.ts';
import type { Shared } from '../shared.ts';

/** A registry behind Tidegate, and what answers requests from it. */
export type OpenRegistry = {
  readonly serve: Serve;
  /** Sends requests of Tidegate's own, by outer names. */
  readonly requestUpstream: RequestUpstream;
  readonly editsFor: EditsFor;
  /** A whole Authorization value for it; null for none. */
  readonly authorization: string | null;
  /** Removes a tag on behalf of the clean-up. */
  readonly removeTag: OpenTagDelete['removeTag'];
  /** Stops storing its answers. */
  retire(): void;
  close(): void;
};

export type RegistryOptions = {
  readonly state: ServedState;
  readonly shared: Shared;
  /** Where it is: `upstream`, or that of a route. */
  readonly at: Config['upstream'];
  /** The CAs that verify it; null: the public ones. */
  readonly ca: string | null;
  /** Null: it is `upstream`. */
  readonly routed: RoutedParts | null;
  /** Null: it is not cleaned up. */
  readonly inUse: InUse | null;
  readonly authenticator: Authenticator;
  readonly policy: Policy | null;
  readonly budget: RelayBudget;
  readonly openBuffers: () => BodyBuffers;
  readonly refusedBodies: RefusedBodies;
  readonly wholeAnswers: WholeAnswers;
  readonly limitUploads: ServeOptions['limitUploads'];
  readonly now: () => number;
};

/** Opens a registry. For one behind a route, names change here, and nowhere else. */
export async function openRegistry(options: RegistryOptions): Promise<OpenRegistry> {
  const { state, shared, at, routed, policy, budget, openBuffers, refusedBodies, wholeAnswers, now } =
    options;
  const { config, pem } = state;
  const { limits } = config;
  const { logger } = shared;
  const { room } = wholeAnswers;
  const upstream = createUpstream({ ...at, ca: options.ca, pieceBytes: budget.pieceBytes });
  const { authorization } = upstream;
  const access = { upstream, connectTimeoutMs: at.connectTimeout, readTimeoutMs: at.readTimeout };
  const plain: RegistryPorts = {
    requestUpstream: createRequestUpstream(access),
    forwarder: createForwarder({ ...access, budget, openBuffers }),
    blobs: await openStorage(at.storage, logger),
    ...{ store: shared.store, locks: shared.locks, deletes: shared.deletes },
  };
  const ports = routed ? routePorts(plain, routed) : plain;
  const { forwarder, blobs, store, locks } = ports;
  const leases = options.inUse?.leases ?? null;
  const gate = openDeleteGate(config, ports.deletes, leases);
  const guarded = gate.guardRequests(ports.requestUpstream);
  const tombstones = createHiddenTombstones(guarded, authorization);
  const requestUpstream = tombstones.hide(guarded);
  const editsFor = createEditsFor({
    publicNames: createPublicNames({
      certificateNames: pem.names,
      listenPort: config.listen.port,
      upstreamUrl: upstream.url,
    }),
    ownsCors: config.cors.origins.length > 0,
    route: routed && { outerPath: routed.names.outerPath, isMirror: routed.isMirror },
  });
  const upstreamHeaders = createUpstreamHeaders(authorization, routed === null);
  const stages =
    routed &&
    createRouteStages(routed, {
      ports: { requestUpstream, blobs },
      ...{ authorization, upstreamHeaders, editsFor, wholeAnswers },
      maxManifestBytes: limits.manifestBytes,
      maxTagListBytes: limits.tagListBytes,
    });
  const fetch = stages?.fetch ?? createFetch(requestUpstream, authorization, room);
  const cache = openAnswerCache(config, shared, { store, fetch, room });
  const asking = { requestUpstream, upstreamAuthorization: authorization };
  const warnings = createUpstreamWarnings(logger, authorization !== null);
  // A challenge of a route's registry becomes an error, which is logged.
  const registryWarnings = routed ? { ...warnings, challenge: () => {} } : warnings;
  const { authenticator } = options;
  const tagDelete = openTagDelete({
    ...{ config, registry: at.url, authorization, ports, cache, leases, logger },
  });
  const deleteTag = createDeleteTag({
    ...{
      prepare: tagDelete.prepare,
      remove: tagDelete.remove,
      authorization,
      editsFor,
      wholeAnswers,
      refusedBodies,
    },
    warnings: registryWarnings,
    describeError: routed && describeRouteErrors(routed),
  });
  const serve = createServe({
    guardTags: openImmutableTags(config, { ...asking, policy, locks, leases }),
    ...{ deleteTag, tombstones },
    ...{ gate, forwarder, cache, editsFor, upstreamHeaders, refusedBodies, wholeAnswers, leases },
    guardPush: openPushGuard(config, options.inUse, { ...asking, requestUpstream: ports.requestUpstream }),
    storage: blobs && { blobs, requestUpstream },
    audit: config.log.audit
      ? createAudit({ ...asking, logger, now, maxKeptBytes: limits.auditedBytes })
      : null,
    rememberToken: routed ? null : (token, user) => authenticator.rememberToken(token, user),
    answerOfRoute: stages?.answerOfRoute ?? null,
    warnings: registryWarnings,
    openPaths: new Set(config.auth.open),
    maxManifestBytes: limits.manifestBytes,
    limitUploads: options.limitUploads,
    pauseWrites: routed ? null : createPauseWrites(shared.writePause, limits.pausedWrites),
  });
  await tagDelete.finish();
  return {
    ...{ serve, requestUpstream, editsFor, authorization },
    removeTag: tagDelete.removeTag,
    retire: () => cache?.retire(),
    close: () => {
      tagDelete.close();
      upstream.close();
    },
  };
}

function openDeleteGate(
  { limits }: Config,
  deletes: RegistryPorts['deletes'],
  leases: DeleteGateOptions['leases'],
): DeleteGate {
  return createDeleteGate({
    ...deletes,
    leases,
    waitMs: limits.deleteWait,
    maxDeletes: limits.deleteQueue,
    maxPerRepository: limits.heldPerRepository,
    maxInAll: limits.heldRequests,
  });
}

function openPushGuard({ limits }: Config, inUse: InUse | null, putting: PutBackOptions): GuardPush | null {
  return (
    inUse &&
    createPushGuard({
      ...{ leases: inUse.leases, taken: inUse.taken, putBack: createPutBack(putting) },
      maxManifestBytes: limits.manifestBytes,
      maxKeptBytes: limits.pushedManifestBytes,
    })
  );
}

function openAnswerCache(
  { cache }: Config,
  { counters, logger }: Shared,
  { store, fetch, room }: Pick<AnswerCacheOptions, 'fetch' | 'room'> & Pick<RegistryPorts, 'store'>,
): AnswerCache | null {
  if (store === null) return null;
  return createAnswerCache({
    ...{ store, fetch, room, counters, logger },
    maxEntryBytes: cache.maxEntryBytes,
    storedFields: cache.headers,
    now: () => performance.now(),
  });
}

function openImmutableTags(
  { immutableTags: patterns, limits }: Config,
  parts: Pick<
    ImmutableTagsOptions,
    'policy' | 'locks' | 'leases' | 'requestUpstream' | 'upstreamAuthorization'
  >,
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
