import { principalText } from '../../registry/principal.ts';
import { originFormPath, type LoggedExchange } from '../log/access-log.ts';

/** A request that is being answered, for the log. */
export type WaitingRequest = {
  readonly requestId: string;
  readonly method: string;
  readonly path: string | null;
  readonly user: string | null;
  readonly client: string;
  readonly ageMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
};

/** The number of requests in progress, and the oldest of them; plain data, so that processes can send it. */
export type WaitingRequests = { readonly count: number; readonly oldest: readonly WaitingRequest[] };

/** The most requests that are listed. */
const maxNamed = 5;

/** @param nowMs the time of the same clock as `startedAtMs` */
export function describeWaiting(exchanges: Iterable<LoggedExchange>, nowMs: number): WaitingRequests {
  const all = [...exchanges].sort((a, b) => a.startedAtMs - b.startedAtMs);
  const oldest = all.slice(0, maxNamed).map((exchange) => ({
    requestId: exchange.id,
    method: exchange.method,
    path: originFormPath(exchange.outerTarget),
    user: principalText(exchange.principal),
    client: exchange.clientAddress,
    ageMs: Math.round(nowMs - exchange.startedAtMs),
    bytesIn: exchange.transfer?.bytesIn ?? 0,
    bytesOut: exchange.transfer?.bytesOut ?? exchange.bytesOut,
  }));
  return { count: all.length, oldest };
}

/** Merges those of several processes. */
export function joinWaiting(parts: readonly WaitingRequests[]): WaitingRequests {
  const oldest = parts.flatMap((part) => part.oldest).sort((a, b) => b.ageMs - a.ageMs);
  return {
    count: parts.reduce((sum, part) => sum + part.count, 0),
    oldest: oldest.slice(0, maxNamed),
  };
}
