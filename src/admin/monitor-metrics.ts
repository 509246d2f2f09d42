import type { DeliveryOptions } from '../alerts/delivery.ts';
import { counter, gauge, type MetricFamily, type MetricValue } from '../telemetry/metrics/metric-family.ts';
import { createTally } from '../telemetry/metrics/tally.ts';
import type { RouteState } from './route-probes.ts';
import type { UpstreamState } from './upstream-probe.ts';
import { version } from '../config/version.ts';
import type { ServerStatus } from './server-status.ts';

/** Metrics that are counted once for all processes. */
export type MonitorMetrics = {
  reloaded(result: 'done' | 'refused'): void;
  readonly alerted: DeliveryOptions['onResult'];
  /** @param upstream null: not probed yet */
  families(
    status: Pick<ServerStatus, 'draining' | 'workers' | 'certificate' | 'clean'>,
    upstream: UpstreamState | null,
    routes: readonly RouteState[],
  ): MetricFamily[];
};

export function createMonitorMetrics(): MonitorMetrics {
  const reloads = createTally(['done', 'refused']);
  const alerts = { webhook: createTally(alertResults), mail: createTally(alertResults) };
  return {
    reloaded: (result) => reloads.count(result),
    alerted: (channel, result) => alerts[channel].count(result),
    families: ({ draining, workers, certificate, clean }, upstream, routes) => [
      ...describeOrders(certificate),
      ...describeClean(clean),
      gauge('tidegate_build_info', 'Which version runs, on which Node; always 1.', 'max', [
        { labels: { version, node: process.versions.node }, value: 1 },
      ]),
      gauge(
        'tidegate_upstream_up',
        'Whether the registry answers: 1 or 0.',
        'min',
        registryValues(upstream, routes, ({ kind }) => Number(kind === 'up')),
      ),
      // Without routes there is none: what scrapes Tidegate sees what it saw.
      ...(routes.length === 0
        ? []
        : [
            gauge(
              'tidegate_upstream_probe_seconds',
              'How long the registry took to answer the last probe.',
              'max',
              registryValues(upstream, routes, (state) => (state.kind === 'up' ? state.ms / 1000 : null)),
            ),
          ]),
      gauge(
        'tidegate_draining',
        'Whether it drains and accepts nothing new: 1 or 0.',
        'max',
        Number(draining),
      ),
      gauge('tidegate_workers', 'Processes that serve clients, and how many there should be.', 'sum', [
        { labels: { state: 'wanted' }, value: workers.wanted },
        { labels: { state: 'serving' }, value: workers.serving },
      ]),
      counter(
        'tidegate_worker_restarts_total',
        'Worker processes that ended and were replaced.',
        workers.restarts,
      ),
      gauge(
        'tidegate_worker_crash_loop',
        'Whether a worker is in a crash loop: 1 or 0.',
        'max',
        Number(workers.crashLoop),
      ),
      counter(
        'tidegate_reloads_total',
        'Reloads of the configuration and its files.',
        reloads.values('result'),
      ),
      counter(
        'tidegate_alerts_total',
        'Alerts, by result.',
        Object.entries(alerts).flatMap(([channel, tally]) =>
          tally.values('result').map((each) => ({ ...each, labels: { channel, ...each.labels } })),
        ),
      ),
    ],
  };
}

/** A value for each probed registry; only that of a route has a label. */
function registryValues(
  upstream: UpstreamState | null,
  routes: readonly RouteState[],
  read: (state: UpstreamState) => number | null,
): MetricValue[] {
  const all = [
    { labels: {}, state: upstream },
    ...routes.map(({ name, state }) => ({ labels: { upstream: name }, state })),
  ];
  return all.flatMap(({ labels, state }) => {
    const value = state === null ? null : read(state);
    return value === null ? [] : [{ labels, value }];
  });
}

/** The metrics of orders; none where the certificate is the operator's own. */
function describeOrders({ acme, origin }: ServerStatus['certificate']): MetricFamily[] {
  if (acme === null) return [];
  const { orders, failure, nextAtMs } = acme;
  return [
    counter(
      'tidegate_certificate_orders_total',
      'Orders for a certificate, by result.',
      Object.entries(orders).map(([result, value]) => ({ labels: { result }, value })),
    ),
    gauge(
      'tidegate_certificate_failed_tries',
      'Tries to get a certificate that failed in a row.',
      'max',
      failure?.tries ?? 0,
    ),
    gauge(
      'tidegate_certificate_renewal_timestamp_seconds',
      'When the next certificate is ordered, since the epoch.',
      'max',
      nextAtMs === null ? null : nextAtMs / 1000,
    ),
    gauge(
      'tidegate_certificate_self_signed',
      'Whether a self-signed certificate answers until the CA has issued one: 1 or 0.',
      'max',
      Number(origin === 'interim'),
    ),
  ];
}

/** The metrics of the clean-up; none where nothing is cleaned up, and few until the cleaner has told. */
function describeClean(clean: ServerStatus['clean']): MetricFamily[] {
  if (clean === null) return [];
  const { isConnected, told } = clean;
  const connected = gauge(
    'tidegate_clean_connected',
    'Whether the cleaner is connected: 1 or 0.',
    'min',
    Number(isConnected),
  );
  if (told === null) return [connected];
  const { lastRun } = told;
  return [
    connected,
    gauge('tidegate_clean_running', 'Whether a clean-up runs: 1 or 0.', 'max', Number(told.running)),
    counter('tidegate_clean_failures_total', 'Clean-ups that were refused or failed.', told.failures),
    gauge(
      'tidegate_clean_quarantined_bytes',
      'Bytes that clean-ups took and that can be brought back.',
      'max',
      told.quarantinedBytes,
    ),
    gauge(
      'tidegate_clean_free_bytes',
      "Free bytes on the file system of the registry's storage.",
      'min',
      told.freeBytes,
    ),
    gauge(
      'tidegate_clean_last_run_timestamp_seconds',
      'When the last clean-up ended, since the epoch.',
      'max',
      lastRun && lastRun.endedAt / 1000,
    ),
    gauge(
      'tidegate_clean_last_run_success',
      'Whether the last clean-up did its work: 1, or 0 when it was refused or failed.',
      'min',
      lastRun && Number(lastRun.result === 'done'),
    ),
    gauge(
      'tidegate_clean_last_run_bytes',
      'Bytes that the last clean-up took.',
      'max',
      lastRun?.bytes ?? null,
    ),
  ];
}

const alertResults = ['sent', 'failed', 'dropped'];
