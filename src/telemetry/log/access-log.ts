import type { Logger } from 'pino';
import { principalText, type Principal } from '../../registry/principal.ts';
import { printable } from './printable.ts';

/** The client's ids of a request; null for none. */
export type ClientIds = { readonly clientRequestId: string | null; readonly traceId: string | null };

/** The facts of a request's log line. */
export type LoggedExchange = {
  readonly id: string;
  readonly trace: ClientIds;
  readonly startedAtMs: number;
  readonly method: string;
  /** By outer names. */
  readonly outerTarget: string;
  readonly host: string | null;
  readonly clientAddress: string;
  readonly userAgent: string;
  readonly routeKind: string | null;
  /** The name of the route whose registry answers; null for `upstream`. */
  readonly upstream: string | null;
  readonly principal: Principal;
  readonly errorCode: string | null;
  readonly reason: string | null;
  /** HIT, MISS or BYPASS of a manifest; null for anything else. */
  readonly cache: string | null;
  /** `storage` for a body from the registry's files; null for anything else. */
  readonly source: string | null;
  readonly res: { readonly statusCode: number; readonly headersSent: boolean };
  readonly bytesOut: number;
  readonly transfer: { readonly bytesIn: number; readonly bytesOut: number } | null;
};

/** The longest part of a client's text in a line, in characters. */
export const maxTextLength = 512;

/** The fields that identify the lines of one request: its own unique id, the client's ids, and its route. */
export function identifyRequest({
  id,
  trace,
  upstream,
}: Pick<LoggedExchange, 'id' | 'trace' | 'upstream'>): Record<string, unknown> {
  const line: Record<string, unknown> = { requestId: id };
  addClientIds(line, trace);
  if (upstream !== null) line['upstream'] = upstream;
  return line;
}

function addClientIds(line: Record<string, unknown>, { clientRequestId, traceId }: ClientIds): void {
  if (clientRequestId !== null) line['clientRequestId'] = clientRequestId;
  if (traceId !== null) line['traceId'] = traceId;
}

/**
 * Writes the line of a finished request. Never logs a header but the User-Agent, and of the target only the path,
 * because a query can carry upstream's upload state or a token. A status of 0 means that no answer began.
 */
export function writeAccessLog(logger: Logger, exchange: LoggedExchange, nowMs: number): void {
  const { res, transfer, upstream, cache, source, errorCode, reason } = exchange;
  const line: Record<string, unknown> = {
    requestId: exchange.id,
    user: principalText(exchange.principal),
    method: exchange.method,
    path: originFormPath(exchange.outerTarget),
    route: exchange.routeKind,
    status: res.headersSent ? res.statusCode : 0,
    bytesIn: transfer?.bytesIn ?? 0,
    bytesOut: transfer?.bytesOut ?? exchange.bytesOut,
    durationMs: roundDuration(nowMs - exchange.startedAtMs),
    client: exchange.clientAddress,
    userAgent: printable(exchange.userAgent.slice(0, maxTextLength)),
  };
  addClientIds(line, exchange.trace);
  if (upstream !== null) line['upstream'] = upstream;
  if (cache !== null) line['cache'] = cache;
  if (source !== null) line['source'] = source;
  if (errorCode !== null) line['code'] = errorCode;
  if (reason !== null) line['reason'] = reason;
  logger.info(line, 'request');
}

/** Rounds to a tenth of a millisecond. */
export function roundDuration(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/**
 * The path without the query, for the log. An absolute-form target is refused and may hold a password, so it is not
 * repeated.
 */
export function originFormPath(rawTarget: string): string | null {
  if (!rawTarget.startsWith('/')) return null;
  const end = rawTarget.search(/[?#]/);
  return printable(rawTarget.slice(0, Math.min(end === -1 ? rawTarget.length : end, maxTextLength)));
}
