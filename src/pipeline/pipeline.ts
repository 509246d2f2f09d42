import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextLoopIteration } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Authenticator } from '../auth/authenticator.ts';
import type { AnswerCache } from '../cache/answer-cache.ts';
import { cacheableOf, writtenOf } from '../cache/cacheable.ts';
import { writeAccessLog } from '../telemetry/log/access-log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { OciError } from '../registry/error.ts';
import { nameFaultError } from '../registry/names/name-fault.ts';
import { routeLabelOf } from '../registry/route-label.ts';
import { parseOperation, type Operation } from '../registry/operation.ts';
import { parseTarget } from '../registry/target.ts';
import { tooLarge, type Forwarder } from '../upstream/forward.ts';
import type { RequestUpstream } from '../upstream/request.ts';
import type { BlobStorage } from '../storage/blob-storage.ts';
import type { Authentication, Authenticate } from './authenticate/authenticate.ts';
import { draining } from './error-response.ts';
import type { Audit } from './serve/audit.ts';
import type { Authorize, AuthorizedRequest } from './authorize/authorize.ts';
import { credentialsNeeded, type Challenge } from './authenticate/challenge.ts';
import { answerPreflight, type Cors } from './cors.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import type { DeleteGate } from './serve/delete-gate.ts';
import {
  openExchange,
  recordPrincipal,
  type Exchange,
  type Expectation,
  type RequestConnection,
} from './exchange.ts';
import { checkFraming, checkMethod } from './framing.ts';
import type { GuardTags } from './tag-rules/immutable-tags.ts';
import type { EditsFor } from './response-edits.ts';
import type { RefusedBodies } from './refused-bodies.ts';
import { createStorageStage } from './serve/blob-response.ts';
import type { AnswerToken } from './authenticate/token-endpoint.ts';
import { createUploadLimit } from './upload-limit.ts';
import { createErrorBoundary } from './error-boundary.ts';
import { createCacheStage } from './serve/cache-stage.ts';
import { createForwardStage } from './serve/forward-stage.ts';
import { createUpstreamHeaders } from './serve/request-for-upstream.ts';
import { createUpstreamWarnings } from './upstream-warnings.ts';
import type { WholeAnswers } from './whole-answers.ts';

export type PipelineOptions = {
  readonly authenticator: Authenticator;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  /** Null: no tag is immutable. */
  readonly guardTags: GuardTags | null;
  readonly gate: DeleteGate;
  readonly challenge: Challenge;
  /** Null: no tokens are issued. */
  readonly answerToken: AnswerToken | null;
  readonly forwarder: Forwarder;
  /** Null: upstream answers everything. */
  readonly cache: AnswerCache | null;
  /** The registry's files, and the function that asks the registry about them; null: upstream sends all blobs. */
  readonly storage: { readonly blobs: BlobStorage; readonly requestUpstream: RequestUpstream } | null;
  /** Null: pushes and deletes get no audit lines. */
  readonly audit: Audit | null;
  readonly addresses: ClientAddresses;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'finished' | 'throttled'>;
  readonly now: () => number;
  readonly openPaths: ReadonlySet<string>;
  readonly editsFor: EditsFor;
  /** Null: upstream's CORS headers pass unchanged. */
  readonly cors: Cors | null;
  /** A whole Authorization value for upstream; null for none. */
  readonly upstreamAuthorization: string | null;
  readonly maxManifestBytes: number;
  /** How many uploads a user may have in progress at the same time. */
  readonly uploadsPerUser: number;
  readonly refusedBodies: RefusedBodies;
  readonly wholeAnswers: WholeAnswers;
};

export type Pipeline = {
  /** Answers one request, after those before it on the connection. Throws nothing: errors become answers. */
  handle(
    req: IncomingMessage,
    res: ServerResponse,
    options: {
      connection: RequestConnection;
      expectation: Expectation;
      /**
       * Resolves with the pipeline that answers the request, once the previous request on the connection has been
       * answered. Undefined: there is none, and this pipeline answers at once.
       */
      ready: Promise<Pipeline> | undefined;
      /** The TCP peer, or the client that a PROXY header names. */
      peerAddress: string;
      /** Whether to refuse the request with 503, since Tidegate is stopping. */
      isDraining: boolean;
    },
  ): Exchange;
  /** Answers a request that has waited for the previous one; never rejects. */
  answer(exchange: Exchange, isDraining: boolean): Promise<void>;
};

/** Passes each request through the stages, in this order. Only here does an error become an answer. */
export function createPipeline(options: PipelineOptions): Pipeline {
  const { authenticate, authorize, challenge, addresses, logger, metrics, now } = options;
  const warnings = createUpstreamWarnings(logger, options.upstreamAuthorization !== null);
  const upstreamHeaders = createUpstreamHeaders(options.upstreamAuthorization);
  const maxBodyBytes = ({ kind }: Operation) => (kind === 'manifest' ? options.maxManifestBytes : Infinity);
  const answerFromCache = createCacheStage({ ...options, warnings });
  const answerFromStorage = createStorageStage({ ...options, upstreamHeaders });
  const forward = createForwardStage({ ...options, warnings, upstreamHeaders, maxBodyBytes });
  const refuse = createErrorBoundary(options);
  const limitUploads = createUploadLimit(options.uploadsPerUser, () => metrics.throttled('uploads'));

  const handle: Pipeline['handle'] = (req, res, { ready, isDraining, ...received }) => {
    const exchange = openExchange(req, res, { ...received, addresses, nowMs: now() });
    res.once('close', () => {
      const log = () => {
        const nowMs = now();
        metrics.finished(exchange, nowMs);
        writeAccessLog(logger, exchange, nowMs);
      };
      if (exchange.transfer === null) log();
      else setImmediate(log); // the transfer learns a little later how it ended
    });
    req.on('error', () => {}); // the client left; the answer's 'close' follows
    if (ready === undefined) void answer(exchange, isDraining);
    else void ready.then((pipeline) => pipeline.answer(exchange, isDraining));
    return exchange;
  };

  const answer = async (exchange: Exchange, isDraining: boolean): Promise<void> => {
    try {
      if (options.cors) exchange.answerHeaders = options.cors.fieldsFor(exchange.req.rawHeaders);
      if (isDraining) throw draining();
      const target = parseTarget(exchange.rawTarget);
      const operation = parseOperation(exchange.method, target, options.openPaths);
      recordOperation(exchange, operation);
      checkFraming(exchange.req, operation);
      checkExpectation(exchange);
      if (options.cors && answerPreflight(exchange, options.cors, options.refusedBodies)) return;
      if (await options.answerToken?.(exchange, target)) return;
      const authentication = await authenticate(exchange, operation);
      const { principal } = authentication;
      if (principal.kind !== 'anonymous') recordPrincipal(exchange, principal);
      checkExists(exchange, operation, authentication, challenge);
      const authorized: AuthorizedRequest = authorize(exchange, operation, target, authentication);
      if (authorized.list) {
        await answerList(exchange, authorized.list, { ...authentication, ...authorized });
        return;
      }
      const { reads } = operation;
      const cacheable = cacheableOf(operation, target.path);
      if (cacheable && (await answerFromCache(exchange, cacheable, authentication))) return;
      const stored = operation.kind === 'blob' ? operation.stored : null;
      if (stored && (await answerFromStorage(exchange, stored, { ...authentication, ...authorized }))) return;
      const announcedBytes = Number(exchange.req.headers['content-length'] ?? 0);
      if (announcedBytes > maxBodyBytes(operation)) throw tooLarge(maxBodyBytes(operation));
      const written = writtenOf(operation);
      if (!reads) limitUploads(exchange, operation);
      const sent =
        authorized.rawTarget === target.raw
          ? operation
          : parseOperation(exchange.method, parseTarget(authorized.rawTarget), options.openPaths);
      const proceed = async (outlivesClient?: () => boolean) => {
        const audited = reads ? null : ((await options.audit?.begin(exchange, operation, target)) ?? null);
        const way = { ...authentication, ...authorized, outlivesClient, operation: sent };
        await forward(exchange, written, way, audited);
      };
      if (reads || options.guardTags === null) await proceed();
      else await options.guardTags(exchange, operation, target, authentication, proceed);
    } catch (error) {
      // A small body comes with the head, but Node parses it in the next iteration of the loop. Then req.complete is right.
      await nextLoopIteration();
      refuse(exchange, error);
    }
  };

  /** Answers with the part of a list that the client may see. */
  const answerList = async (
    exchange: Exchange,
    answerWith: NonNullable<AuthorizedRequest['list']>,
    authentication: Authentication & AuthorizedRequest,
  ): Promise<void> => {
    const status = await answerWith(upstreamHeaders(exchange, authentication));
    if (status === 401) warnings.challenge(exchange);
  };

  return { handle, answer };
}

function recordOperation(exchange: Exchange, operation: Operation): void {
  exchange.operation = operation;
  exchange.routeKind = routeLabelOf(operation);
  if (operation.kind === 'version-check') addVersionCheckHeaders(exchange);
}

/** Keeps caches from storing an answer to a version check, which depends on the client. */
function addVersionCheckHeaders(exchange: Exchange): void {
  const { answerHeaders } = exchange;
  exchange.answerHeaders = {
    ...answerHeaders,
    'Docker-Distribution-Api-Version': 'registry/2.0',
    Vary: ['User-Agent', ...(answerHeaders['Vary'] === undefined ? [] : [answerHeaders['Vary']])].join(', '),
    'Cache-Control': 'no-store',
  };
}

function checkExpectation({ expectation }: Exchange): void {
  if (expectation === 'unknown')
    throw new OciError('EXPECTATION_FAILED', 'The only supported expectation is "100-continue".');
}

/** Refuses paths and methods that no registry has. @throws OciError */
function checkExists(
  exchange: Exchange,
  operation: Operation,
  { isAnonymous }: Authentication,
  challenge: Challenge,
): void {
  if (operation.kind === 'outside' && isAnonymous) throw credentialsNeeded(challenge(exchange));
  if (operation.kind === 'outside')
    throw new OciError('NOT_FOUND', 'There is nothing outside /v2/ and /v1/ here.');
  checkMethod(exchange.method);
  // For an anonymous client, the policy first asks for credentials.
  if (operation.kind === 'misnamed' && !isAnonymous) throw nameFaultError(operation.fault, exchange.method);
}
