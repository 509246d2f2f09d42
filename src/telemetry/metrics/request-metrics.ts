import { STATUS_CODES } from 'node:http';
import type { LoggedExchange } from '../log/access-log.ts';
import { createHistogram, type Histogram } from './histogram.ts';
import { counter, gauge, histogram, type MetricFamily, type MetricValue } from './metric-family.ts';
import { createTally } from './tally.ts';

/** A request that is being answered. */
export type RequestUnderWay = Pick<LoggedExchange, 'method' | 'routeKind' | 'transfer' | 'bytesOut'>;

/** What requests came to: counted in plain numbers as they end, and made into metrics when somebody asks. */
export type RequestMetrics = {
  /** Counts a request whose answer has ended, at a time of the clock that `startedAtMs` is from. */
  readonly finished: (exchange: LoggedExchange, nowMs: number) => void;
  families(underWay: readonly RequestUnderWay[]): MetricFamily[];
};

/** `none`: the target was refused before it had a route. */
const noRoute = 'none';
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** From a manifest out of the cache to the push of a large layer. */
const durationBoundsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5, 30, 120, 600, 3600];

const authenticationResults = [
  'verified',
  'not-needed',
  'no-credentials',
  'wrong-credentials',
  'malformed',
  'unsupported-scheme',
  'several-authorization-headers',
  'unknown-token',
  'invalid-token',
  'expired-token',
  'insufficient-scope',
  'undecided',
  'throttled',
];
const cacheResults = ['HIT', 'MISS', 'BYPASS'];
const upstreamFaults = ['no-answer', 'timeout', 'broke-off', 'server-error', 'challenge', 'storage-broke'];

/** The requests of one route and method. */
type Series = {
  readonly labels: MetricValue['labels'];
  readonly durations: Histogram;
  /** How many, by status; 0: no answer was begun. */
  readonly byStatus: Float64Array;
  bytesIn: number;
  bytesOut: number;
  /** What was shown last: with those under way, which are about to be counted as ended. */
  shownIn: number;
  shownOut: number;
};

/** A status has three digits, in whatever upstream says too. */
const statuses = 1000;

export function createRequestMetrics(): RequestMetrics {
  const series = new Map<string, Map<string, Series>>();
  const authentications = createTally(authenticationResults);
  const cacheAnswers = createTally(cacheResults);
  const faults = createTally(upstreamFaults);

  const seriesOf = ({ routeKind, method }: Pick<LoggedExchange, 'routeKind' | 'method'>): Series => {
    const known = series.get(routeKind ?? noRoute)?.get(method);
    if (known) return known;
    const route = routeKind ?? noRoute;
    const ofRoute = series.get(route) ?? new Map<string, Series>();
    series.set(route, ofRoute);
    // A client may name any method: those that are not known are one.
    const name = methods.has(method) ? method : 'other';
    const fresh = ofRoute.get(name) ?? {
      labels: { route, method: name },
      durations: createHistogram(durationBoundsSeconds),
      byStatus: new Float64Array(statuses),
      bytesIn: 0,
      bytesOut: 0,
      shownIn: 0,
      shownOut: 0,
    };
    ofRoute.set(name, fresh);
    return fresh;
  };

  const finished: RequestMetrics['finished'] = (exchange, nowMs) => {
    const { res, transfer, cache, errorCode } = exchange;
    const own = seriesOf(exchange);
    const status = res.headersSent ? res.statusCode : 0;
    own.byStatus[status] = (own.byStatus[status] ?? 0) + 1;
    own.durations.observe((nowMs - exchange.startedAtMs) / 1000);
    own.bytesIn += transfer?.bytesIn ?? 0;
    own.bytesOut += transfer?.bytesOut ?? exchange.bytesOut;
    if (cache !== null) cacheAnswers.count(cache);
    const authentication = authenticationOf(exchange);
    if (authentication !== null) authentications.count(authentication);
    if (errorCode === null && exchange.reason === null && status < 500 && status !== 401) return;
    const fault = upstreamFaultOf(exchange, status);
    if (fault !== null) faults.count(fault);
  };

  const families: RequestMetrics['families'] = (underWay) => {
    const moving = new Map<Series, { bytesIn: number; bytesOut: number }>();
    for (const request of underWay) {
      const own = seriesOf(request);
      const sum = moving.get(own) ?? { bytesIn: 0, bytesOut: 0 };
      sum.bytesIn += request.transfer?.bytesIn ?? 0;
      sum.bytesOut += request.transfer?.bytesOut ?? request.bytesOut;
      moving.set(own, sum);
    }
    const all = [...series.values()].flatMap((ofRoute) => [...ofRoute.values()]);
    for (const own of all) {
      const sum = moving.get(own);
      // A request that has just ended is under way no more, and may be counted an instant later: a counter never falls.
      own.shownIn = Math.max(own.shownIn, own.bytesIn + (sum?.bytesIn ?? 0));
      own.shownOut = Math.max(own.shownOut, own.bytesOut + (sum?.bytesOut ?? 0));
    }
    return [
      counter('tidegate_requests_total', 'Requests answered.', all.flatMap(countByStatus)),
      histogram(
        'tidegate_request_duration_seconds',
        "From the request's head to the end of its answer.",
        all.flatMap(({ labels, durations }) => durations.values('tidegate_request_duration_seconds', labels)),
      ),
      counter(
        'tidegate_received_bytes_total',
        'Bytes of bodies that came from clients and went on to the registry.',
        all.map(({ labels, shownIn }) => ({ labels, value: shownIn })),
      ),
      counter(
        'tidegate_sent_bytes_total',
        "Bytes of bodies sent to clients, but for Tidegate's own errors.",
        all.map(({ labels, shownOut }) => ({ labels, value: shownOut })),
      ),
      gauge('tidegate_requests_in_flight', 'Requests under way.', 'sum', underWay.length),
      gauge(
        'tidegate_transfers_in_flight',
        'Requests under way whose bodies go between client and registry.',
        'sum',
        underWay.filter(({ transfer }) => transfer !== null).length,
      ),
      counter(
        'tidegate_authentications_total',
        'Requests by what was found out about who asks.',
        authentications.values('result'),
      ),
      counter(
        'tidegate_cache_requests_total',
        'Requests that a cache could answer, by whether it did.',
        cacheAnswers.values('result'),
      ),
      counter(
        'tidegate_upstream_errors_total',
        'Requests that the registry failed to answer well.',
        faults.values('kind'),
      ),
    ];
  };

  return { finished, families };
}

/** What upstream may answer has a thousand values: those without a meaning are shown by their class. */
function countByStatus({ labels, byStatus }: Series): MetricValue[] {
  const counts = new Map<string, number>();
  byStatus.forEach((count, status) => {
    if (count === 0) return;
    const known = STATUS_CODES[status] !== undefined;
    const name = status === 0 ? 'none' : known ? String(status) : `${Math.floor(status / 100)}xx`;
    counts.set(name, (counts.get(name) ?? 0) + count);
  });
  return [...counts].map(([status, value]) => ({ labels: { ...labels, status }, value }));
}

/** What came of the question who asks; null: it was not asked. */
function authenticationOf({ principal, errorCode, reason, routeKind }: LoggedExchange): string | null {
  if (principal.kind !== 'anonymous') return 'verified';
  switch (errorCode) {
    case 'UNAUTHORIZED':
      return reason ?? 'no-credentials';
    case 'UNAVAILABLE':
      return 'undecided';
    case 'TOOMANYREQUESTS':
      return 'throttled';
    case null:
    case 'BAD_GATEWAY':
    case 'GATEWAY_TIMEOUT':
      return routeKind === null ? null : 'not-needed';
    default:
      return null;
  }
}

/** How upstream failed; null: it did not. */
function upstreamFaultOf({ errorCode, reason, principal }: LoggedExchange, status: number): string | null {
  if (errorCode === 'BAD_GATEWAY') return 'no-answer';
  if (errorCode === 'GATEWAY_TIMEOUT') return 'timeout';
  if (errorCode !== null) return null;
  if (reason === 'upstream-broke') return 'broke-off';
  if (reason === 'storage-broke') return 'storage-broke';
  // An error that is not Tidegate's own was passed on.
  if (status >= 500) return 'server-error';
  return status === 401 && principal.kind !== 'anonymous' ? 'challenge' : null;
}
