import { randomFillSync } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheResult } from '../cache/answer-cache.ts';
import type { OciErrorCode } from '../registry/error.ts';
import { anonymous, type KnownPrincipal, type Principal } from '../registry/principal.ts';
import type { Operation } from '../registry/operation.ts';
import type { Transfer } from '../upstream/forward.ts';
import { headerValues } from '../http/raw-headers.ts';
import type { ClientAddresses } from '../http/client-address.ts';
import { nameByHost, nameByProxy, type PublicName } from '../http/public-name.ts';
import { readTraceContext, type TraceContext } from '../http/trace-context.ts';

/** The Expect header; `continue`: the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1). */
export type Expectation = 'none' | 'continue' | 'unknown';

/** The part of a connection that its requests use. */
export type RequestConnection = {
  /**
   * Call it when the principal is proven. The connection may then hold more unread bytes.
   * @throws OciError TOOMANYREQUESTS when the principal has too many connections
   */
  prove(principal: KnownPrincipal): void;
  /** Starts reading the request's body. Before, only a short body of a proven principal is read. */
  readBody(): void;
  /** Stops reading the body. */
  leaveBody(): void;
  /** Whether so many bytes came without a right password that the connection should end. */
  isCostly(): boolean;
};

/** A request, its answer, and what the stages learn about them; the access log's source. */
export type Exchange = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly connection: RequestConnection;
  /** In the log line and in error bodies. Unique: a client cannot choose it. */
  readonly id: string;
  readonly trace: TraceContext;
  readonly startedAtMs: number;
  readonly method: string;
  readonly rawTarget: string;
  /** The same by outer names; until it is named, as the client sent it. */
  outerTarget: string;
  /** Host as the client sent it; null for none, or an empty one. */
  readonly host: string | null;
  /** The name by which the client reaches Tidegate. */
  readonly publicName: PublicName;
  /** The TCP peer, or the client that the PROXY protocol names. */
  readonly peerAddress: string;
  readonly peerIsTrusted: boolean;
  /** The client: the peer, unless that is a trusted proxy. */
  readonly clientAddress: string;
  readonly userAgent: string;
  readonly expectation: Expectation;
  /** Fields for any answer to this request. */
  answerHeaders: Record<string, string>;
  /** Null until it is parsed. */
  operation: Operation | null;
  routeKind: string | null;
  /** The name of the route whose repository it is; null: that of `upstream`, or not known yet. */
  upstream: string | null;
  /** The outer name of a repository for a client that asks for a route by its host and knows inner names only; else null. */
  outerName: ((repository: string) => string) | null;
  /** Anonymous until another one is proven. */
  principal: Principal;
  errorCode: OciErrorCode | null;
  /** Why credentials were refused or an answer was cut, for the log. */
  reason: string | null;
  /** HIT, MISS or BYPASS if the cache could have answered; else null. */
  cache: CacheResult['kind'] | null;
  /** The digest that upstream names in its answer about a manifest; null: none. */
  manifestDigest: string | null;
  /** `storage`: the body comes from the registry's files, not from upstream. */
  source: 'storage' | null;
  transfer: Pick<Transfer, 'waitsForClient' | 'bytesIn' | 'bytesOut'> | null;
  /** Bytes of an answer's body that no transfer sent. */
  bytesOut: number;
};

export function openExchange(
  req: IncomingMessage,
  res: ServerResponse,
  {
    addresses,
    connection,
    expectation,
    peerAddress,
    nowMs,
  }: {
    addresses: ClientAddresses;
    connection: RequestConnection;
    expectation: Expectation;
    peerAddress: string;
    nowMs: number;
  },
): Exchange {
  const { rawHeaders } = req;
  const [host = ''] = headerValues(rawHeaders, 'host');
  const peerIsTrusted = addresses.isTrusted(peerAddress);
  const namedHost = host === '' ? null : host;
  return {
    req,
    res,
    connection,
    id: createRequestId(),
    trace: readTraceContext(rawHeaders),
    startedAtMs: nowMs,
    method: req.method ?? '',
    rawTarget: req.url ?? '',
    outerTarget: req.url ?? '',
    host: namedHost,
    publicName: peerIsTrusted ? nameByProxy(rawHeaders, namedHost) : nameByHost(namedHost),
    peerAddress,
    peerIsTrusted,
    clientAddress: peerIsTrusted
      ? addresses.resolve(peerAddress, headerValues(rawHeaders, 'x-forwarded-for').join(','))
      : peerAddress,
    userAgent: headerValues(rawHeaders, 'user-agent')[0] ?? '',
    expectation,
    answerHeaders: {},
    operation: null,
    routeKind: null,
    upstream: null,
    outerName: null,
    principal: anonymous,
    errorCode: null,
    reason: null,
    cache: null,
    manifestDigest: null,
    source: null,
    transfer: null,
    bytesOut: 0,
  };
}

/** Records the proven principal. @throws OciError TOOMANYREQUESTS */
export function recordPrincipal(exchange: Exchange, principal: KnownPrincipal): void {
  try {
    exchange.connection.prove(principal);
  } catch (error) {
    exchange.reason = 'too-many-connections';
    exchange.res.shouldKeepAlive = false;
    throw error;
  }
  exchange.principal = principal;
}

const requestIdBytes = 16;
/** Random bytes for many ids: one system call a request would cost more. */
const randomPool = Buffer.alloc(256 * requestIdBytes);
let poolUsed = randomPool.length;

/** Returns 32 random hexadecimal digits. */
export function createRequestId(): string {
  if (poolUsed === randomPool.length) {
    randomFillSync(randomPool);
    poolUsed = 0;
  }
  const start = poolUsed;
  poolUsed += requestIdBytes;
  return randomPool.toString('hex', start, poolUsed);
}
