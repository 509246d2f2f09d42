import { STATUS_CODES } from 'node:http';
import type { LoggedExchange } from '../log/access-log.ts';
import { createHistogram, type Histogram } from './histogram.ts';
import { counter, gauge, histogram, type MetricFamily, type MetricValue } from './metric-family.ts';
import { createTally, type Tally } from './tally.ts';

/** A request that has not ended yet. */
export type RequestUnderWay = Pick<
  LoggedExchange,
  'method' | 'routeKind' | 'upstream' | 'transfer' | 'bytesOut'
>;

/** Counts requests as they end, in plain numbers; creates metrics only on request. */
export type RequestMetrics = {
  /** Counts a request whose answer has ended; `nowMs` is from the same clock as `startedAtMs`. */
  readonly finished: (exchange: LoggedExchange, nowMs: number) => void;
  /** @param routes the names of the routes in effect: others are forgotten when they have no request in progress */
  families(underWay: readonly RequestUnderWay[], routes: readonly string[]): MetricFamily[];
};

/** `none`: the target was refused before it had a route. */
const noRoute = 'none';
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** From a cached manifest to the push of a large layer. */
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
  'malformed-machine-token',
  'unknown-machine-token',
  'expired-machine-token',
  'ownerless-machine-token',
  'malformed-id-token',
  'unknown-issuer',
  'wrong-audience',
  'expired-id-token',
  'early-id-token',
  'unknown-key',
  'no-rule-for-job',
  'wrong-signature',
  'undecided',
  'throttled',
];
const principalKinds = ['user', 'token', 'job'];
const cacheResults = ['HIT', 'MISS', 'BYPASS'];
const upstreamFaults = ['no-answer', 'timeout', 'broke-off', 'server-error', 'challenge', 'storage-broke'];
const routeFaults = [...upstreamFaults, 'rate-limit'];
/** Why a request was refused without asking the registry of its route. */
const refusalKinds = ['paused', 'full'];

/** The requests of one route and method. */
type Series = {
  readonly labels: MetricValue['labels'];
  readonly durations: Histogram;
  /** The number by status; 0: no answer began. */
  readonly byStatus: Float64Array;
  bytesIn: number;
  bytesOut: number;
  /** The last reported value: includes the bytes of requests in progress, which are added above when they end. */
  shownIn: number;
  shownOut: number;
};

/** A status has three digits, even upstream's. */
const statuses = 1000;

export function createRequestMetrics(): RequestMetrics {
  const upstream = startRegistry({}, upstreamFaults);
  const routes = new Map<string, RegistryCounts>();
  const tallies: Tallies = {
    authentications: createTally(authenticationResults),
    principals: createTally(principalKinds),
  };
  const ofRoute = (name: string): RegistryCounts => {
    const known = routes.get(name) ?? startRegistry({ upstream: name }, routeFaults);
    routes.set(name, known);
    return known;
  };
  const countsOf: CountsOf = ({ upstream: name }) => (name === null ? upstream : ofRoute(name));

  return {
    finished: (exchange, nowMs) => {
      const { res, cache, errorCode, principal } = exchange;
      const status = res.headersSent ? res.statusCode : 0;
      const counts = countsOf(exchange);
      countRequest(counts.series.of(exchange), exchange, status, nowMs);
      if (cache !== null) counts.cacheAnswers.count(cache);
      const authentication = authenticationOf(exchange);
      if (authentication !== null) tallies.authentications.count(authentication);
      if (principal.kind !== 'anonymous') tallies.principals.count(principal.kind);
      if (errorCode === null && exchange.reason === null && status < 500 && status !== 401) return;
      const refusal = refusalOf(exchange);
      if (refusal !== null) counts.refusals.count(refusal);
      const fault = refusal === null ? upstreamFaultOf(exchange, status) : null;
      if (fault !== null) counts.faults.count(fault);
    },
    families: (underWay, names) => {
      for (const name of routes.keys())
        if (!names.includes(name) && !underWay.some((request) => request.upstream === name))
          routes.delete(name);
      for (const name of names) ofRoute(name);
      const moving = sumBytes(underWay, countsOf);
      const registries = [upstream, ...routes.values()];
      for (const own of registries.flatMap(({ series }) => series.all())) show(own, moving.get(own));
      return listFamilies(registries, underWay, tallies);
    },
  };
}

/** The counts of one registry: `upstream`, or that of a route. */
type RegistryCounts = {
  /** Empty for `upstream`. */
  readonly labels: MetricValue['labels'];
  readonly series: SeriesTable;
  readonly cacheAnswers: Tally;
  readonly faults: Tally;
  readonly refusals: Tally;
};

type CountsOf = (request: Pick<LoggedExchange, 'upstream'>) => RegistryCounts;

function startRegistry(labels: MetricValue['labels'], faults: readonly string[]): RegistryCounts {
  return {
    labels,
    series: createSeriesTable(labels),
    cacheAnswers: createTally(cacheResults),
    faults: createTally(faults),
    refusals: createTally(refusalKinds),
  };
}

/** A series per route and method; neither clients nor upstream can add any. */
type SeriesTable = {
  /** Returns the series, and creates it if missing. */
  of(request: Pick<LoggedExchange, 'routeKind' | 'method'>): Series;
  all(): readonly Series[];
};

function createSeriesTable(labels: MetricValue['labels']): SeriesTable {
  const byRoute = new Map<string, Map<string, Series>>();
  return {
    of: ({ routeKind, method }) => {
      const route = routeKind ?? noRoute;
      const ofRoute = byRoute.get(route) ?? new Map<string, Series>();
      const known = ofRoute.get(method);
      if (known !== undefined) return known;
      byRoute.set(route, ofRoute);
      // Clients may invent methods: all unknown ones share one series.
      const name = methods.has(method) ? method : 'other';
      const series = ofRoute.get(name) ?? startSeries({ ...labels, route, method: name });
      ofRoute.set(name, series);
      return series;
    },
    all: () => [...byRoute.values()].flatMap((ofRoute) => [...ofRoute.values()]),
  };
}

function startSeries(labels: Series['labels']): Series {
  return {
    labels,
    durations: createHistogram(durationBoundsSeconds),
    byStatus: new Float64Array(statuses),
    ...{ bytesIn: 0, bytesOut: 0, shownIn: 0, shownOut: 0 },
  };
}

function countRequest(series: Series, exchange: LoggedExchange, status: number, nowMs: number): void {
  series.byStatus[status] = (series.byStatus[status] ?? 0) + 1;
  series.durations.observe((nowMs - exchange.startedAtMs) / 1000);
  series.bytesIn += exchange.transfer?.bytesIn ?? 0;
  series.bytesOut += exchange.transfer?.bytesOut ?? exchange.bytesOut;
}

type Bytes = { bytesIn: number; bytesOut: number };

/** The bytes that requests in progress have transferred so far, by series. */
function sumBytes(underWay: readonly RequestUnderWay[], countsOf: CountsOf): ReadonlyMap<Series, Bytes> {
  const sums = new Map<Series, Bytes>();
  for (const request of underWay) {
    const own = countsOf(request).series.of(request);
    const sum = sums.get(own) ?? { bytesIn: 0, bytesOut: 0 };
    sum.bytesIn += request.transfer?.bytesIn ?? 0;
    sum.bytesOut += request.transfer?.bytesOut ?? request.bytesOut;
    sums.set(own, sum);
  }
  return sums;
}

/**
 * A request that has just ended is no longer in progress, but may be counted an instant later. So the last value is
 * kept: a counter never falls.
 */
function show(series: Series, moving: Bytes = { bytesIn: 0, bytesOut: 0 }): void {
  series.shownIn = Math.max(series.shownIn, series.bytesIn + moving.bytesIn);
  series.shownOut = Math.max(series.shownOut, series.bytesOut + moving.bytesOut);
}

type Tallies = Readonly<Record<'authentications' | 'principals', Tally>>;

function listFamilies(
  registries: readonly RegistryCounts[],
  underWay: readonly RequestUnderWay[],
  { authentications, principals }: Tallies,
): MetricFamily[] {
  const [, ...routes] = registries;
  const series = registries.flatMap((each) => each.series.all());
  return [
    counter('tidegate_requests_total', 'Requests answered.', series.flatMap(countByStatus)),
    histogram(
      'tidegate_request_duration_seconds',
      "From the request's head to the end of its answer.",
      series.flatMap(({ labels, durations }) =>
        durations.values('tidegate_request_duration_seconds', labels),
      ),
    ),
    counter(
      'tidegate_received_bytes_total',
      'Bytes of bodies forwarded from clients to the registry.',
      series.map(({ labels, shownIn }) => ({ labels, value: shownIn })),
    ),
    counter(
      'tidegate_sent_bytes_total',
      "Bytes of bodies sent to clients, except Tidegate's own errors.",
      series.map(({ labels, shownOut }) => ({ labels, value: shownOut })),
    ),
    gauge('tidegate_requests_in_flight', 'Requests in progress.', 'sum', underWay.length),
    gauge(
      'tidegate_transfers_in_flight',
      'Requests in progress whose bodies pass between client and registry.',
      'sum',
      underWay.filter(({ transfer }) => transfer !== null).length,
    ),
    counter(
      'tidegate_authentications_total',
      'Requests, by result of authentication.',
      authentications.values('result'),
    ),
    counter(
      'tidegate_verified_requests_total',
      'Requests of those who proved who they are, by what they are.',
      principals.values('kind'),
    ),
    counter(
      'tidegate_cache_requests_total',
      'Requests that the cache may answer, by result.',
      registries.flatMap(({ labels, cacheAnswers }) => labelled(labels, cacheAnswers.values('result'))),
    ),
    counter(
      'tidegate_upstream_errors_total',
      'Failures of the registry, by kind.',
      registries.flatMap(({ labels, faults }) => labelled(labels, faults.values('kind'))),
    ),
    ...(routes.length === 0
      ? []
      : [
          counter(
            'tidegate_upstream_refusals_total',
            'Requests refused without asking the registry of their route.',
            routes.flatMap(({ labels, refusals }) => labelled(labels, refusals.values('kind'))),
          ),
        ]),
  ];
}

function labelled(labels: MetricValue['labels'], values: readonly MetricValue[]): MetricValue[] {
  return values.map((each) => ({ ...each, labels: { ...labels, ...each.labels } }));
}

/** Shows an unknown status of upstream by its class: there are a thousand. */
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

/** The outcome of authentication; null: it did not take place. */
function authenticationOf(exchange: LoggedExchange): string | null {
  const { principal, errorCode, reason, routeKind, upstream } = exchange;
  if (principal.kind !== 'anonymous') return 'verified';
  // It was authorized, whatever came of it.
  if (upstream !== null) return 'not-needed';
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

/** Why the registry of a route was not asked; null: it was, or there is none. */
function refusalOf({ reason }: LoggedExchange): string | null {
  return refusalKinds.find((kind) => reason === `upstream-${kind}`) ?? null;
}

/** The kind of upstream's failure; null: none. */
function upstreamFaultOf({ errorCode, reason, principal }: LoggedExchange, status: number): string | null {
  // Errors of a route's registry are told in Tidegate's words.
  const told = routeFaults.find((kind) => reason === `upstream-${kind}`);
  if (told !== undefined) return told;
  if (errorCode === 'BAD_GATEWAY') return 'no-answer';
  if (errorCode === 'GATEWAY_TIMEOUT') return 'timeout';
  if (errorCode !== null) return null;
  if (reason === 'upstream-broke') return 'broke-off';
  if (reason === 'storage-broke') return 'storage-broke';
  // Upstream's error, which was forwarded.
  if (status >= 500) return 'server-error';
  return status === 401 && principal.kind !== 'anonymous' ? 'challenge' : null;
}
