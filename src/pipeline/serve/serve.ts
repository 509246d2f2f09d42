import { cacheableOf, writtenOf } from '../../cache/cacheable.ts';
import { parseOperation, type Operation } from '../../registry/operation.ts';
import { parseTarget, type CanonicalTarget } from '../../registry/target.ts';
import type { BlobStorage } from '../../storage/blob-storage.ts';
import { tooLarge } from '../../upstream/forward.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { AuthorizedRequest } from '../authorize/authorize.ts';
import type { Exchange } from '../exchange.ts';
import type { AnswerOfRoute } from '../routes/route-stage.ts';
import type { GuardTags } from '../tag-rules/immutable-tags.ts';
import type { Audit } from './audit.ts';
import type { PauseWrites } from './pause-writes.ts';
import { createStorageStage, type StorageStageOptions } from './blob-response.ts';
import { createCacheStage, type CacheStageOptions } from './cache-stage.ts';
import { createForwardStage, type ForwardStageOptions } from './forward-stage.ts';

export type ServeOptions = CacheStageOptions &
  Omit<ForwardStageOptions, 'maxBodyBytes'> &
  Omit<StorageStageOptions, 'storage'> & {
    /** Null: no tag is immutable. */
    readonly guardTags: GuardTags | null;
    /** The registry's files, and the function that asks the registry about them; null: it sends all blobs. */
    readonly storage: { readonly blobs: BlobStorage; readonly requestUpstream: RequestUpstream } | null;
    /** Null: pushes and deletes get no audit lines. */
    readonly audit: Audit | null;
    /** Null: the registry is `upstream`, whose answers are relayed as they are. */
    readonly answerOfRoute: AnswerOfRoute | null;
    readonly openPaths: ReadonlySet<string>;
    readonly maxManifestBytes: number;
    /** @throws OciError TOOMANYREQUESTS */
    readonly limitUploads: (exchange: Exchange, operation: Operation) => void;
    /** Null: writes are never paused. */
    readonly pauseWrites: PauseWrites | null;
  };

/** A request that has been authorized, with what is known of it. */
export type ServedRequest = {
  readonly operation: Operation;
  /** What the client asked for. */
  readonly target: CanonicalTarget;
  readonly authentication: Authentication;
  /** What of it goes on. */
  readonly authorized: AuthorizedRequest;
};

/** Answers an authorized request from one registry: from its cached answers, from its files, or by forwarding it. */
export type Serve = (exchange: Exchange, request: ServedRequest) => Promise<void>;

export function createServe(options: ServeOptions): Serve {
  const { audit, answerOfRoute, guardTags, limitUploads, pauseWrites, openPaths, maxManifestBytes } = options;
  const maxBodyBytes = ({ kind }: Operation) => (kind === 'manifest' ? maxManifestBytes : Infinity);
  const answerFromCache = createCacheStage(options);
  const answerFromStorage = createStorageStage(options);
  const forward = createForwardStage({ ...options, maxBodyBytes });

  return async (exchange, { operation, target, authentication, authorized }) => {
    const { reads } = operation;
    const cacheable = cacheableOf(operation, target.path);
    if (cacheable && (await answerFromCache(exchange, cacheable, target, authentication))) return;
    // Not before the cache: joining them costs as much as several stages.
    const request = Object.assign({}, authentication, authorized, { operation });
    const stored = operation.kind === 'blob' ? operation.stored : null;
    if (stored && (await answerFromStorage(exchange, stored, request))) return;
    if (answerOfRoute !== null && (await answerOfRoute(exchange, request))) return;
    const announcedBytes = Number(exchange.req.headers['content-length'] ?? 0);
    if (announcedBytes > maxBodyBytes(operation)) throw tooLarge(maxBodyBytes(operation));
    const written = writtenOf(operation);
    const sent =
      request.rawTarget === target.raw
        ? operation
        : parseOperation(exchange.method, parseTarget(request.rawTarget), openPaths);
    const proceed = async (outlivesClient?: () => boolean) => {
      const audited = reads ? null : ((await audit?.begin(exchange, operation, target)) ?? null);
      const way = Object.assign({}, request, { outlivesClient, operation: sent });
      await forward(exchange, written, way, audited);
    };
    const write = async () => {
      limitUploads(exchange, operation);
      if (guardTags === null) await proceed();
      else await guardTags(exchange, operation, target, request, proceed);
    };
    if (reads) await proceed();
    else if (pauseWrites === null) await write();
    else await pauseWrites(exchange, operation, write);
  };
}
