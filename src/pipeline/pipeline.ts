import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextLoopIteration } from 'node:timers/promises';
import type { Logger } from 'pino';
import { writeAccessLog } from '../telemetry/log/access-log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { OciError } from '../registry/error.ts';
import { nameFaultError } from '../registry/names/name-fault.ts';
import { routeLabelOf } from '../registry/route-label.ts';
import { parseOperation, type Operation } from '../registry/operation.ts';
import { parseTarget, type CanonicalTarget } from '../registry/target.ts';
import type { Authentication, Authenticate } from './authenticate/authenticate.ts';
import type { AnswerAs, AnswerConsole } from './answer-console.ts';
import { draining } from './error-response.ts';
import type { Authorize, AuthorizedRequest } from './authorize/authorize.ts';
import { credentialsNeeded, type Challenge } from './authenticate/challenge.ts';
import { answerPreflight, type Cors } from './cors.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import {
  openExchange,
  recordPrincipal,
  type Exchange,
  type Expectation,
  type RequestConnection,
} from './exchange.ts';
import { checkFraming, checkMethod } from './framing.ts';
import type { RefusedBodies } from './refused-bodies.ts';
import type { AnswerToken } from './authenticate/token-endpoint.ts';
import { createErrorBoundary } from './error-boundary.ts';
import type { NamedTarget } from './routes/route-table.ts';
import type { Routes } from './routes/routes.ts';
import type { Serve, ServedRequest } from './serve/serve.ts';
import { createUpstreamHeaders } from './serve/request-for-upstream.ts';
import { createUpstreamWarnings } from './upstream-warnings.ts';
import type { UsageNotes } from '../usage/usage-notes.ts';

export type PipelineOptions = {
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  readonly challenge: Challenge;
  /** Null: no tokens are issued. */
  readonly answerToken: AnswerToken | null;
  /** Null: there is no console, and its paths are like any others. */
  readonly answerConsole: AnswerConsole | null;
  /** Answers what no route does. */
  readonly serve: Serve;
  /** Null: there are none, and `serve` answers everything. */
  readonly routes: Routes | null;
  /** Null: pulls and pushes are not recorded. */
  readonly usage: Pick<UsageNotes, 'finished'> | null;
  readonly addresses: ClientAddresses;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'finished'>;
  readonly now: () => number;
  readonly openPaths: ReadonlySet<string>;
  /** Null: upstream's CORS headers pass unchanged. */
  readonly cors: Cors | null;
  /** A whole Authorization value for upstream; null for none. */
  readonly upstreamAuthorization: string | null;
  readonly refusedBodies: RefusedBodies;
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
       * answered. Undefined: there is none, and this pipeline answers, once all that has come by now is read.
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

type AuthenticatedRequest = Omit<ServedRequest, 'authorized'> & { readonly named: NamedTarget | null };

/** Passes each request through the stages, in this order. Only here does an error become an answer. */
export function createPipeline(options: PipelineOptions): Pipeline {
  const { authenticate, authorize, challenge, serve, routes, addresses, logger, metrics, now } = options;
  const { answerConsole } = options;
  const warnings = createUpstreamWarnings(logger, options.upstreamAuthorization !== null);
  const upstreamHeaders = createUpstreamHeaders(options.upstreamAuthorization, true);
  const refuse = createErrorBoundary(options);

  const parse = (method: string, target: CanonicalTarget): Operation => {
    const operation = parseOperation(method, target, options.openPaths);
    return operation.kind === 'console' && answerConsole === null
      ? { ...operation, kind: 'outside' }
      : operation;
  };

  const handle: Pipeline['handle'] = (
    req,
    res,
    { connection, expectation, ready, peerAddress, isDraining },
  ) => {
    const received = { connection, expectation, peerAddress, addresses, nowMs: now() };
    const exchange = openExchange(req, res, received);
    res.once('close', () => {
      const log = () => {
        const nowMs = now();
        metrics.finished(exchange, nowMs);
        writeAccessLog(logger, exchange, nowMs);
        options.usage?.finished(exchange);
      };
      if (exchange.transfer === null) log();
      else setImmediate(log); // the transfer learns a little later how it ended
    });
    req.on('error', () => {}); // the client left; the answer's 'close' follows
    // Requests that come together are answered together: each answer that goes alone wakes its client, which costs more.
    const answerUnlessGone = () => {
      if (req.socket.writable) void answer(exchange, isDraining);
    };
    if (ready === undefined) setImmediate(answerUnlessGone);
    else void ready.then((pipeline) => pipeline.answer(exchange, isDraining));
    return exchange;
  };

  const answer = async (exchange: Exchange, isDraining: boolean): Promise<void> => {
    try {
      if (options.cors) exchange.answerHeaders = options.cors.fieldsFor(exchange.req.rawHeaders);
      if (isDraining) throw draining();
      const asked = parseTarget(exchange.rawTarget);
      const sent = parse(exchange.method, asked);
      recordOperation(exchange, sent);
      if (sent.kind === 'version-check') addVersionCheckHeaders(exchange);
      checkFraming(exchange.req, sent);
      const named = routes === null ? null : routes.name(exchange, asked);
      const target = named === null ? asked : named.target;
      const operation = target === asked ? sent : parse(exchange.method, target);
      recordOperation(exchange, operation);
      checkExpectation(exchange);
      if (answerConsole !== null && (operation.kind === 'console' || operation.kind === 'root'))
        if (await answerConsole(exchange, { operation, target }, answerAs)) return;
      if (options.cors && answerPreflight(exchange, options.cors, options.refusedBodies)) return;
      if (await options.answerToken?.(exchange, target)) return;
      const authentication = await authenticate(exchange, operation);
      const { principal } = authentication;
      if (principal.kind !== 'anonymous') recordPrincipal(exchange, principal);
      await answerAuthenticated(exchange, { operation, target, named, authentication });
    } catch (error) {
      // A small body comes with the head, but Node parses it in the next iteration of the loop. Then req.complete is right.
      await nextLoopIteration();
      refuse(exchange, error);
    }
  };

  const answerAs: AnswerAs = async (exchange, authentication) => {
    try {
      const target = parseTarget(exchange.rawTarget);
      const operation = parse(exchange.method, target);
      recordOperation(exchange, operation);
      exchange.principal = authentication.principal;
      await answerAuthenticated(exchange, { operation, target, named: null, authentication });
    } catch (error) {
      refuse(exchange, error);
    }
  };

  /** No `async`, no spread: this is in the way of every request. @throws OciError also before it returns */
  const answerAuthenticated = (
    exchange: Exchange,
    { operation, target, named, authentication }: AuthenticatedRequest,
  ): Promise<void> => {
    checkExists(exchange, operation, authentication, challenge);
    const authorized = authorize(exchange, operation, target, authentication);
    if (authorized.list) return answerList(exchange, authorized.list, { ...authentication, ...authorized });
    const request = { operation, target, authentication, authorized };
    return routes === null ? serve(exchange, request) : routes.serve(exchange, request, named);
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
}

/** Keeps caches from storing an answer to a version check, which depends on the client. */
function addVersionCheckHeaders(exchange: Exchange): void {
  const { answerHeaders } = exchange;
  const { Vary: others } = answerHeaders;
  answerHeaders['Docker-Distribution-Api-Version'] = 'registry/2.0';
  answerHeaders['Vary'] = others === undefined ? 'User-Agent' : `User-Agent, ${others}`;
  answerHeaders['Cache-Control'] = 'no-store';
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
