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

/** What the Expect header asks for; `continue`: the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1). */
export type Expectation = 'none' | 'continue' | 'unknown';

/** The connection that a request came on, as far as the request is concerned. */
export type RequestConnection = {
  /**
   * To be called when it is proven who asks: from then on more may wait on the connection.
   * @throws OciError TOOMANYREQUESTS when that one has too many connections
   */
  prove(principal: KnownPrincipal): void;
  /** The request's body is read from now on; it is not before, unless it is short and somebody was proven. */
  readBody(): void;
  /** Nothing more of it is read. */
  leaveBody(): void;
  /** Whether so much has come without a right password that the connection had better end. */
  isCostly(): boolean;
};

/** One request and its answer, with what is learned about them on the way; the access log's source. */
export type Exchange = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly connection: RequestConnection;
  /** In the log line and in error bodies; no other request has it, whatever a client says. */
  readonly id: string;
  readonly trace: TraceContext;
  readonly startedAtMs: number;
  readonly method: string;
  readonly rawTarget: string;
  /** Host as the client sent it; null for none, or an empty one. */
  readonly host: string | null;
  /** By which name the client reaches the front door. */
  readonly publicName: PublicName;
  /** The TCP peer, or the client that the PROXY protocol names. */
  readonly peerAddress: string;
  readonly peerIsTrusted: boolean;
  /** The client: the peer, unless that is a trusted proxy. */
  readonly clientAddress: string;
  readonly userAgent: string;
  readonly expectation: Expectation;
  /** Fields that every answer to this request carries. */
  answerHeaders: Record<string, string>;
  /** Null until it has been read. */
  operation: Operation | null;
  routeKind: string | null;
  /** Anonymous until somebody is proven. */
  principal: Principal;
  errorCode: OciErrorCode | null;
  /** Why credentials were refused or an answer was cut, for the log. */
  reason: string | null;
  /** HIT, MISS or BYPASS, where a cache could have answered; null elsewhere. */
  cache: CacheResult['kind'] | null;
  /** `storage`: the body comes from the registry's files and not through upstream. */
  source: 'storage' | null;
  transfer: Pick<Transfer, 'waitsForClient' | 'bytesIn' | 'bytesOut'> | null;
  /** Bytes of a body that did not come through a transfer. */
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
    principal: anonymous,
    errorCode: null,
    reason: null,
    cache: null,
    source: null,
    transfer: null,
    bytesOut: 0,
  };
}

/** Writes down who asks, once that is proven. @throws OciError TOOMANYREQUESTS */
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
/** Randomness for many, since drawing it costs more than using it. */
const randomPool = Buffer.alloc(256 * requestIdBytes);
let poolUsed = randomPool.length;

/** 32 random hexadecimal digits. */
export function createRequestId(): string {
  if (poolUsed === randomPool.length) {
    randomFillSync(randomPool);
    poolUsed = 0;
  }
  const start = poolUsed;
  poolUsed += requestIdBytes;
  return randomPool.toString('hex', start, poolUsed);
}
