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

/** How many requests are being answered, and the oldest of them; plain data, so that processes can pass it on. */
export type WaitingRequests = { readonly count: number; readonly oldest: readonly WaitingRequest[] };

/** More lines than this help nobody. */
const maxNamed = 5;

/** @param nowMs the time by the clock of `startedAtMs` */
export function describeWaiting(exchanges: Iterable<LoggedExchange>, nowMs: number): WaitingRequests {
  const all = [...exchanges].sort((a, b) => a.startedAtMs - b.startedAtMs);
  const oldest = all.slice(0, maxNamed).map((exchange) => ({
    requestId: exchange.id,
    method: exchange.method,
    path: originFormPath(exchange.rawTarget),
    user: principalText(exchange.principal),
    client: exchange.clientAddress,
    ageMs: Math.round(nowMs - exchange.startedAtMs),
    bytesIn: exchange.transfer?.bytesIn ?? 0,
    bytesOut: exchange.transfer?.bytesOut ?? exchange.bytesOut,
  }));
  return { count: all.length, oldest };
}

/** Those of several processes together. */
export function joinWaiting(parts: readonly WaitingRequests[]): WaitingRequests {
  const oldest = parts.flatMap((part) => part.oldest).sort((a, b) => b.ageMs - a.ageMs);
  return {
    count: parts.reduce((sum, part) => sum + part.count, 0),
    oldest: oldest.slice(0, maxNamed),
  };
}
