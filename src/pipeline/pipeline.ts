import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as loopTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Authenticator } from '../auth/authenticator.ts';
import type { AnnouncedWrite, AnswerCache, CacheResult } from '../cache/answer-cache.ts';
import { cacheableOf, writtenOf, type Cacheable, type Written } from '../cache/cacheable.ts';
import { identifyRequest, writeAccessLog } from '../telemetry/log/access-log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { OciError } from '../registry/error.ts';
import { withoutOddSource } from '../registry/mount.ts';
import { nameFaultError } from '../registry/name-fault.ts';
import { routeLabelOf } from '../registry/route-label.ts';
import { parseOperation, type BlobName, type Operation } from '../registry/operation.ts';
import { parseTarget } from '../registry/target.ts';
import { tooLarge, type Engine, type ForwardRequest } from '../upstream/forward.ts';
import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import type { Ask } from '../upstream/request.ts';
import { buildUpstreamHeaders } from '../upstream/headers.ts';
import type { BlobStorage } from '../storage/blob-storage.ts';
import type { Authentication, Authenticate } from './authenticate/authenticate.ts';
import { draining, endAnswer, writeErrorHead } from './error-response.ts';
import type { Audit, AuditedRequest } from './serve/audit.ts';
import { isShareable, writeWholeHead } from './serve/cache-response.ts';
import type { Authorize, AuthorizedRequest } from './authorize/authorize.ts';
import { credentialsNeeded, type Challenge } from './authenticate/challenge.ts';
import { answerPreflight, type Cors } from './cors.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import type { Alone, DeleteGate, GatePass } from './serve/delete-gate.ts';
import {
  openExchange,
  recordUser,
  type Exchange,
  type Expectation,
  type RequestConnection,
} from './exchange.ts';
import { checkFraming, checkMethod } from './framing.ts';
import type { GuardTags } from './immutable-tags/immutable-tags.ts';
import type { EditsFor } from './response-edits.ts';
import { hasReadableForwarded } from '../http/public-name.ts';
import type { RefusedBodies } from './refused-bodies.ts';
import { respondFromStorage } from './serve/blob-response.ts';
import type { AnswerToken } from './authenticate/token-endpoint.ts';
import { continueTrace } from '../http/trace-context.ts';
import { createUploadLimit } from './upload-limit.ts';
import { createUpstreamWarnings } from './upstream-warnings.ts';
import { addVersionCheckHeaders } from './version-check-headers.ts';
import type { WholeAnswers } from './whole-answers.ts';

export type PipelineOptions = {
  readonly authenticator: Authenticator;
  readonly authenticate: Authenticate;
  /** Null: every verified user may do everything. */
  readonly authorize: Authorize | null;
  /** Null: no tag is immutable. */
  readonly guardTags: GuardTags | null;
  readonly gate: DeleteGate;
  readonly challenge: Challenge;
  /** Null: no tokens are given. */
  readonly answerToken: AnswerToken | null;
  readonly engine: Engine;
  /** Null: every answer is upstream's. */
  readonly cache: AnswerCache | null;
  /** The registry's files, and the way to ask it about them; null: it sends every blob itself. */
  readonly storage: { readonly blobs: BlobStorage; readonly ask: Ask } | null;
  /** Null: pushes and deletes have no line but each request's. */
  readonly audit: Audit | null;
  readonly addresses: ClientAddresses;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'finished' | 'throttled'>;
  readonly now: () => number;
  readonly openPaths: ReadonlySet<string>;
  readonly editsFor: EditsFor;
  /** Null: pages of other origins are upstream's concern. */
  readonly cors: Cors | null;
  /** A whole Authorization value for upstream; null for none. */
  readonly upstreamAuthorization: string | null;
  readonly maxManifestBytes: number;
  /** How many uploads a user may have under way at one time. */
  readonly uploadsPerUser: number;
  readonly refusedBodies: RefusedBodies;
  readonly wholeAnswers: WholeAnswers;
};

export type Pipeline = {
  /** Answers one request, when its turn on the connection has come if it has to wait for that, whatever happens; never rejects. */
  handle(
    req: IncomingMessage,
    res: ServerResponse,
    options: {
      connection: RequestConnection;
      expectation: Expectation;
      /** Gives the pipeline that answers it; undefined: its turn has come, and it is this one. */
      turn: Promise<Pipeline> | undefined;
      /** The TCP peer, or the client that a PROXY header names. */
      peerAddress: string;
      /** Refused with 503: nothing new is begun any more. */
      isDraining: boolean;
    },
  ): Exchange;
  /** Answers one that has waited for its turn; never rejects. */
  answer(exchange: Exchange, isDraining: boolean): Promise<void>;
};

/** The stages that every request passes, in this order, and the only place where an error becomes an answer. */
export function createPipeline(options: PipelineOptions): Pipeline {
  const {
    authenticator,
    authenticate,
    authorize,
    challenge,
    engine,
    cache,
    addresses,
    logger,
    metrics,
    now,
  } = options;
  const { upstreamAuthorization, gate, wholeAnswers } = options;
  const warnings = createUpstreamWarnings(logger, upstreamAuthorization !== null);
  const limitUploads = createUploadLimit(options.uploadsPerUser, () => metrics.throttled('uploads'));

  const handle: Pipeline['handle'] = (req, res, { turn, isDraining, ...received }) => {
    const exchange = openExchange(req, res, { ...received, addresses, nowMs: now() });
    res.once('close', () => {
      const log = () => {
        const nowMs = now();
        metrics.finished(exchange, nowMs);
        writeAccessLog(logger, exchange, nowMs);
      };
      if (exchange.transfer === null) log();
      else setImmediate(log); // how the transfer ended is known a little later
    });
    req.on('error', () => {}); // a client that leaves; the answer's 'close' follows
    if (turn === undefined) void answer(exchange, isDraining);
    else void turn.then((pipeline) => pipeline.answer(exchange, isDraining));
    return exchange;
  };

  const answer = async (exchange: Exchange, isDraining: boolean): Promise<void> => {
    try {
      if (options.cors) exchange.answerHeaders = options.cors.fieldsFor(exchange.req.rawHeaders);
      if (isDraining) throw draining();
      const target = parseTarget(exchange.rawTarget);
      const operation = parseOperation(exchange.method, target, options.openPaths);
      exchange.operation = operation;
      exchange.routeKind = routeLabelOf(operation);
      if (operation.kind === 'version-check') addVersionCheckHeaders(exchange);
      checkFraming(exchange.req, operation);
      if (exchange.expectation === 'unknown') {
        throw new OciError('EXPECTATION_FAILED', 'The only expectation understood here is "100-continue".');
      }
      if (options.cors && answerPreflight(exchange, options.cors, options.refusedBodies)) return;
      if (await options.answerToken?.(exchange, target)) return;
      const authentication = await authenticate(exchange, operation);
      if (authentication.identity !== null) recordUser(exchange, authentication.identity.name);
      if (operation.kind === 'outside' && authentication.isAnonymous)
        throw credentialsNeeded(challenge(exchange));
      if (operation.kind === 'outside')
        throw new OciError('NOT_FOUND', 'There is nothing outside /v2/ and /v1/ here.');
      checkMethod(exchange.method);
      // An anonymous client hears first that credentials are needed, from the policy.
      if (operation.kind === 'misnamed' && !authentication.isAnonymous)
        throw nameFaultError(operation.fault, exchange.method);
      const authorized: AuthorizedRequest = authorize?.(exchange, operation, target, authentication) ?? {
        rawTarget: withoutOddSource(exchange.method, target),
        hidesForm: false,
      };
      if (authorized.list) {
        await answerList(exchange, authorized.list, { ...authentication, ...authorized });
        return;
      }
      const { reads } = operation;
      const cacheable = cacheableOf(operation, target.path);
      if (cacheable && (await answerFromCache(exchange, cacheable, authentication))) return;
      const stored = operation.kind === 'blob' ? operation.stored : null;
      if (stored && (await answerBlob(exchange, stored, { ...authentication, ...authorized }))) return;
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
        if (exchange.method !== 'DELETE') await forward(exchange, written, way, audited);
        else
          await gate.alone(exchange, sent, (alone) =>
            forward(exchange, written, joinAlone(way, alone), audited),
          );
      };
      if (reads || options.guardTags === null) await proceed();
      else await options.guardTags(exchange, operation, target, authentication, proceed);
    } catch (error) {
      // A small body comes with the head, but the parser gets to it only in the loop's next turn; then req.complete tells.
      await loopTurn();
      refuse(exchange, error);
    }
  };

  /** Answers from the cache where that is allowed; gives false when upstream is to be asked by this client itself. */
  const answerFromCache = async (
    exchange: Exchange,
    cacheable: Cacheable,
    { keepAuthorization }: Authentication,
  ): Promise<boolean> => {
    const { req, res, host, rawTarget } = exchange;
    const shared = cache !== null && !keepAuthorization && isShareable(req);
    const found: CacheResult = shared
      ? await cache.answer(cacheable, {
          rawTarget,
          host,
          accept: headerValues(req.rawHeaders, 'accept'),
          isConditional: headerValues(req.rawHeaders, 'if-none-match').length > 0,
          whenGone: (listener) => {
            if (res.destroyed) listener();
            else res.once('close', listener);
          },
        })
      : { kind: 'BYPASS' };
    // Without room upstream sends it, through this process and not into it.
    const hasRoom =
      found.kind === 'BYPASS' || exchange.method === 'HEAD' || wholeAnswers.hold(res, found.answer.body);
    const result: CacheResult = hasRoom ? found : { kind: 'BYPASS' };
    exchange.cache = result.kind;
    exchange.answerHeaders = { ...exchange.answerHeaders, 'X-Cache': result.kind };
    if (result.kind === 'BYPASS') return false;
    if (res.destroyed) return true;
    if (result.answer.status === 401) warnings.challenge(exchange);
    const edits = options.editsFor(exchange);
    wholeAnswers.send(exchange, writeWholeHead(exchange, result.answer, edits));
    return true;
  };

  /** Answers a blob's GET from the registry's files; gives false when upstream is to send it. */
  const answerBlob = async (
    exchange: Exchange,
    name: BlobName,
    authentication: Authentication & AuthorizedRequest,
  ): Promise<boolean> => {
    if (options.storage === null || exchange.method !== 'GET') return false;
    if (authentication.keepAuthorization || exchange.expectation !== 'none') return false;
    const { editsFor, refusedBodies } = options;
    const headers = upstreamHeaders(exchange, authentication);
    return respondFromStorage(exchange, name, headers, { ...options.storage, editsFor, refusedBodies });
  };

  /** Answers with what of a list the client may know of. */
  const answerList = async (
    exchange: Exchange,
    answerWith: NonNullable<AuthorizedRequest['list']>,
    authentication: Authentication & AuthorizedRequest,
  ): Promise<void> => {
    const status = await answerWith(upstreamHeaders(exchange, authentication));
    if (status === 401) warnings.challenge(exchange);
  };

  const maxBodyBytes = ({ kind }: Operation) => (kind === 'manifest' ? options.maxManifestBytes : Infinity);

  const upstreamHeaders = (
    exchange: Exchange,
    { keepAuthorization, hidesForm }: Authentication & AuthorizedRequest,
  ) =>
    buildUpstreamHeaders(exchange.req.rawHeaders, {
      publicScheme: exchange.publicName.scheme,
      publicAuthority: exchange.publicName.authority,
      peerAddress: exchange.peerAddress,
      clientAddress: exchange.clientAddress,
      peerIsTrusted: exchange.peerIsTrusted,
      keepsForwarded: exchange.peerIsTrusted && hasReadableForwarded(exchange.req.rawHeaders),
      ...continueTrace(exchange.id, exchange.trace),
      keepAuthorization,
      hidesForm,
      upstreamAuthorization,
    });

  /** Lets a request through to upstream, and the cache know what it changes, before and after. */
  const forward = async (
    exchange: Exchange,
    written: Written | null,
    way: Way,
    audited: AuditedRequest | null,
  ): Promise<void> => {
    const announced = written === null ? undefined : await cache?.announceWrite(written);
    try {
      const pass = gate.open(exchange, way.operation);
      try {
        const held = pass?.from === 'head' ? pass.enter() : undefined;
        if (held) await held;
        await transfer(exchange, { ...way, pass }, announced, audited);
      } finally {
        pass?.close();
      }
    } finally {
      await announced?.end();
    }
  };

  const transfer = async (
    exchange: Exchange,
    way: Way & { readonly pass: GatePass | null },
    announced: AnnouncedWrite | undefined,
    audited: AuditedRequest | null,
  ): Promise<void> => {
    const { req, res } = exchange;
    const { pass } = way;
    if (res.destroyed) return;
    exchange.connection.readBody();
    if (exchange.expectation === 'continue') res.writeContinue();
    const edits = options.editsFor(exchange);
    const forwarded = engine.forward({
      req,
      res,
      rawTarget: way.rawTarget,
      headers: upstreamHeaders(exchange, way),
      edits: { ...edits, editLocation: way.editLocation },
      maxBodyBytes: maxBodyBytes(way.operation),
      beforeEnd: pass?.from === 'body' ? () => pass.enter() : undefined,
      outlivesClient: way.outlivesClient,
      onResponse: (status, rawHeaders) => {
        pass?.settled();
        way.answered?.();
        audited?.answered(status, rawHeaders);
        if (status === 401) warnings.challenge(exchange);
        if (status === 201 || status === 202) warnings.foreignPlace(exchange, rawHeaders, edits.names);
        const remembered = rememberTokens(rawHeaders, way);
        if (remembered.length === 0) return announced?.end();
        return Promise.all([...remembered, announced?.end()]).then(() => {});
      },
    });
    exchange.transfer = forwarded;
    // The log does not wait for what outlives its client.
    if (way.outlivesClient)
      res.once('close', () => {
        if (!res.writableFinished) exchange.reason ??= 'client-left';
      });
    audited?.forwarded();
    const end = await forwarded.ended;
    if (end === 'relayed') endAnswer(exchange, options.refusedBodies);
    else exchange.reason = end;
  };

  const rememberTokens = (rawHeaders: RawHeaders, { identity }: Authentication): Promise<void>[] =>
    identity === null
      ? []
      : headerValues(rawHeaders, 'x-docker-token').map((token) =>
          authenticator.rememberToken(token, identity),
        );

  /** The error boundary: an answer if none has begun, else a cut connection. */
  const refuse = (exchange: Exchange, thrown: unknown): void => {
    const { res } = exchange;
    const error =
      thrown instanceof OciError
        ? thrown
        : new OciError('UNKNOWN', 'The front door failed.', { cause: thrown });
    exchange.errorCode = error.code;
    if (error.status >= 500) {
      const context = { ...identifyRequest(exchange), code: error.code };
      if (error.code === 'UNKNOWN') logger.error({ ...context, err: error.cause }, error.message);
      else logger.warn(context, describe(error));
    }
    if (res.destroyed || res.headersSent) {
      res.destroy();
      return;
    }
    endAnswer(exchange, options.refusedBodies, writeErrorHead(exchange, error));
  };

  return { handle, answer };
}

/** How a request is let through, and to where. */
type Way = Authentication &
  AuthorizedRequest &
  Pick<ForwardRequest, 'outlivesClient'> & {
    /** What it is to upstream. */
    readonly operation: Operation;
    /** Called when upstream has answered. */
    readonly answered?: () => void;
  };

/** The way of a delete, whose end is waited for by others. */
function joinAlone(way: Way, { answered, outlivesClient }: Alone): Way {
  const { outlivesClient: others } = way;
  return { ...way, answered, outlivesClient: () => outlivesClient() && others?.() !== false };
}

function describe(error: OciError): string {
  return error.cause instanceof Error ? `${error.message} ${error.cause.message}` : error.message;
}
