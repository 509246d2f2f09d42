import { createHistogram } from './histogram.ts';
import { counter, gauge, histogram, type MetricFamily } from './metric-family.ts';
import { openProcessMetrics } from './process-metrics.ts';
import { createRequestMetrics, type RequestMetrics, type RequestUnderWay } from './request-metrics.ts';
import { createTally } from './tally.ts';

/** The latest lock-out. */
export type LatestLockOut = {
  /** What is locked out: `address`, `name`, or `repeat`. */
  readonly kind: string;
  /** The source of the last attempt: an address or a network. For alerts, never a label; likewise the user. */
  readonly network: string;
  /** The name, if such a user exists; null if not, since it may be a password in the wrong field. */
  readonly user: string | null;
};

/** The report of a serving process. */
export type ProcessReport = {
  readonly families: readonly MetricFamily[];
  /** When its certificate expires, in milliseconds since the epoch. */
  readonly certificateEndMs: number;
  /** `passed-by`: the cache's store cannot be used now. */
  readonly cache: 'off' | 'used' | 'passed-by';
  readonly lockOuts: { readonly count: number; readonly latest: LatestLockOut | null };
};

/** Current values, at the moment of a report. */
export type Gauges = {
  readonly connections: number;
  readonly underWay: readonly RequestUnderWay[];
  readonly passwords: { readonly queued: number; readonly running: number };
  readonly certificateEndMs: number;
  /** Null: no cache. */
  readonly cache: CacheGauges | null;
  /** The names of the routes in effect. */
  readonly routes: readonly string[];
};

export type CacheGauges = {
  readonly isUsable: boolean;
  /** Whether the processes share one store. */
  readonly isShared: boolean;
  readonly counters: { readonly store: number; readonly evict: number; readonly errors: number };
  /** Null: the store cannot be reached. */
  readonly stats: { readonly entries: number; readonly bytes: number } | null;
};

/** The metrics of a serving process. */
export type Metrics = {
  readonly finished: RequestMetrics['finished'];
  /** Records how long a password check waited for a thread, in milliseconds. */
  readonly passwordWaited: (waitedMs: number) => void;
  /** Counts a password that was not checked because too many waited. */
  readonly passwordRejected: () => void;
  /** Counts a request refused by a lock-out or limit: `address`, `name`, `repeat`, `uploads` or `connections`. */
  readonly throttled: (kind: string) => void;
  readonly lockedOut: (lockOut: LatestLockOut) => void;
  report(gauges: Gauges): ProcessReport;
  close(): void;
};

const throttleKinds = ['address', 'name', 'repeat', 'uploads', 'connections'];
const lockOutKinds = ['address', 'name', 'repeat'];
const waitBoundsSeconds = [0.005, 0.05, 0.25, 1, 2.5, 10, 30];

export function createMetrics(): Metrics {
  const requests = createRequestMetrics();
  const ofProcess = openProcessMetrics();
  const waits = createHistogram(waitBoundsSeconds);
  const throttles = createTally(throttleKinds);
  const lockOuts = createTally(lockOutKinds);
  let passwordRejections = 0;
  let lockOutCount = 0;
  let latestLockOut: LatestLockOut | null = null;

  return {
    finished: requests.finished,
    passwordWaited: (waitedMs) => waits.observe(waitedMs / 1000),
    passwordRejected: () => {
      passwordRejections += 1;
    },
    throttled: (kind) => throttles.count(kind),
    lockedOut: (lockOut) => {
      lockOuts.count(lockOut.kind);
      lockOutCount += 1;
      latestLockOut = lockOut;
    },
    report: ({ connections, underWay, passwords, certificateEndMs, cache, routes }) => ({
      families: [
        ...requests.families(underWay, routes),
        gauge('tidegate_connections', 'Connections of clients.', 'sum', connections),
        counter(
          'tidegate_throttled_total',
          'Requests and connections refused by a lock-out or a limit.',
          throttles.values('kind'),
        ),
        counter(
          'tidegate_lockouts_total',
          'Addresses and names that were locked out.',
          lockOuts.values('kind'),
        ),
        gauge('tidegate_password_queue', 'Passwords that wait to be checked.', 'sum', passwords.queued),
        gauge(
          'tidegate_password_checks_running',
          'Passwords that are being checked.',
          'sum',
          passwords.running,
        ),
        counter(
          'tidegate_password_rejections_total',
          'Requests refused because too many passwords waited to be checked.',
          passwordRejections,
        ),
        histogram(
          'tidegate_password_wait_seconds',
          'How long passwords waited to be checked.',
          waits.values('tidegate_password_wait_seconds', {}),
        ),
        gauge(
          'tidegate_certificate_expiry_timestamp_seconds',
          'When the certificate expires, since the epoch.',
          'min',
          certificateEndMs / 1000,
        ),
        ...(cache === null ? [] : describeCache(cache)),
        ...ofProcess.families(),
      ],
      certificateEndMs,
      cache: cache === null ? 'off' : cache.isUsable ? 'used' : 'passed-by',
      lockOuts: { count: lockOutCount, latest: latestLockOut },
    }),
    close: () => ofProcess.close(),
  };
}

function describeCache({ isUsable, isShared, counters, stats }: CacheGauges): MetricFamily[] {
  // Each process sees all of a shared store.
  const aggregator = isShared ? 'max' : 'sum';
  return [
    gauge(
      'tidegate_cache_usable',
      "Whether the cache's store can be used: 1, or 0 when it is bypassed.",
      'min',
      isUsable ? 1 : 0,
    ),
    counter('tidegate_cache_stores_total', 'Answers stored in the cache.', counters.store),
    counter('tidegate_cache_evictions_total', 'Answers that the cache evicted to make room.', counters.evict),
    counter('tidegate_cache_errors_total', 'Operations of the cache that failed.', counters.errors),
    gauge('tidegate_cache_entries', 'Answers in the cache.', aggregator, stats?.entries ?? null),
    gauge('tidegate_cache_bytes', 'Size of the cache.', aggregator, stats?.bytes ?? null),
  ];
}
