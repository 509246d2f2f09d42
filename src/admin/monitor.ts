import { hostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { openChannels, type ChannelSettings } from '../alerts/channels.ts';
import { createDelivery, type Delivery, type DeliveryOptions } from '../alerts/delivery.ts';
import { createIncidents } from '../alerts/incidents.ts';
import type { ServedState } from '../app/served-state.ts';
import { formatExposition, type Exposition } from '../telemetry/metrics/exposition.ts';
import type { MetricFamily } from '../telemetry/metrics/metric-family.ts';
import type { ProcessReport } from '../telemetry/metrics/metrics.ts';
import { openProcessMetrics } from '../telemetry/metrics/process-metrics.ts';
import { openAdminListener, type ReloadOutcome } from './admin.ts';
import { judgeReadiness } from './readiness.ts';
import { repeat } from './repeat.ts';
import { openProbe, openRouteProbes, type RouteProbes, type RouteState } from './route-probes.ts';
import type { UpstreamProbe, UpstreamState } from './upstream-probe.ts';
import type { ServerStatus } from './server-status.ts';
import { createMonitorMetrics } from './monitor-metrics.ts';

/** Monitors a running Tidegate, once for all its processes: the admin listener, the health of the registries, and alerts. */
export type Monitor = {
  /**
   * Call it after each reload with the configuration in effect: counts the reload, and applies it. Never rejects: if
   * alerts cannot be sent as configured, the log says so, and they are sent as before.
   */
  reloaded(result: 'done' | 'refused', state: MonitoredState): Promise<void>;
  close(): void;
};

/** The part of the status that the monitor uses. */
type MonitoredState = {
  readonly config: ServedState['config'];
  readonly pem: Pick<ServedState['pem'], 'upstreamCa' | 'routeCas' | 'alertsCa'>;
};

export type MonitorOptions = MonitoredState & {
  readonly logger: Logger;
  readonly door: {
    /** The counts of the serving processes; takes a bounded time. */
    readonly reports: () => Promise<readonly ProcessReport[]>;
    readonly status: () => Pick<ServerStatus, 'draining' | 'workers' | 'certificate' | 'clean'>;
  };
  /** The metrics of the record of usage; null: there is none. */
  readonly usage?: { families(): MetricFamily[] } | null;
  /** Those of the lists of repositories and tags; null: there are none. */
  readonly inventory?: { families(): MetricFamily[] } | null;
  readonly reload?: () => Promise<ReloadOutcome>;
};

/** What depends on the configuration. */
type Parts = {
  readonly probe: UpstreamProbe;
  readonly routes: RouteProbes;
  readonly channels: ChannelSettings;
  readonly deliveries: readonly Delivery[];
  readonly rules: { readonly upstreamDownForMs: number; readonly certificateDays: number };
  readonly intervalMs: number;
  /** Closes what the next one, if any, does not keep using. */
  close(next?: Parts): void;
};

/** @throws OperatorError when the admin listener can't be opened. */
export async function openMonitor(options: MonitorOptions): Promise<Monitor> {
  const { config, pem, logger, door, usage, inventory, reload } = options;
  const counts = createMonitorMetrics();
  // With one worker this process is the worker, and reports for itself.
  const ofProcess = config.workers > 1 ? openProcessMetrics() : null;
  const incidents = createIncidents({
    host: hostname(),
    now: () => Date.now(),
    raise: (alert) => {
      const { kind, state, incident, upstream: route } = alert;
      const fields = { alert: kind, state, incident, ...(route === null ? {} : { upstream: route }) };
      if (alert.state === 'resolved') logger.info(fields, alert.text);
      else logger.warn(fields, alert.text);
      for (const delivery of parts.deliveries) delivery.add(alert);
    },
  });
  let upstream: UpstreamState | null = null;
  let reports: readonly ProcessReport[] = [];

  const observe = (): void =>
    incidents.observe(
      {
        upstreamDown: upstream?.kind === 'down' ? upstream : null,
        routes: parts.routes.states().map(describeRoute),
        certificateEndMs: findCertificateEnd(reports),
        orders: door.status().certificate.acme,
        cleanFailure: findCleanFailure(door.status().clean),
        isCrashLooping: door.status().workers.crashLoop,
        lockOuts: sumLockOuts(reports),
      },
      parts.rules,
    );
  const opening = { logger, onResult: counts.alerted, onProbe: observe };
  let parts = await openParts({ config, pem }, opening);
  const look = async (): Promise<void> => {
    [upstream, reports] = await Promise.all([parts.probe.check(), door.reports()]);
    observe();
  };
  const looks = repeat(
    () => look().catch((error: unknown) => logger.error({ err: error }, 'the monitor failed')),
    () => parts.intervalMs,
  );

  /** Shared by simultaneous requests. */
  let scrape: Promise<Exposition> | undefined;
  const expose = async (): Promise<Exposition> => {
    await looks.first;
    return formatExposition([
      ...(await door.reports()).map(({ families }) => families),
      counts.families(door.status(), upstream, parts.routes.states()),
      ...(usage ? [usage.families()] : []),
      ...(inventory ? [inventory.families()] : []),
      ...(ofProcess ? [ofProcess.families()] : []),
    ]);
  };

  const { host, port, names } = config.admin;
  const admin =
    port === null
      ? null
      : await openAdminListener({
          host,
          port,
          names,
          logger,
          readiness: async () => {
            await looks.first;
            await parts.routes.untilJudged();
            return judge({ upstream, routes: parts.routes.states() }, reports, door.status());
          },
          metrics: () => (scrape ??= expose().finally(() => (scrape = undefined))),
          reload,
        });

  return {
    reloaded: async (result, inEffect) => {
      counts.reloaded(result);
      if (result === 'refused') return;
      try {
        const next = await openParts(inEffect, opening, parts);
        parts.close(next);
        parts = next;
      } catch (error) {
        logger.error(
          { err: error },
          'the new settings of alerts cannot be used: alerts are sent with the old ones',
        );
      }
    },
    close: () => {
      looks.end();
      admin?.close();
      parts.close();
      ofProcess?.close();
    },
  };
}

async function openParts(
  { config: { upstream, routes, alerts }, pem }: MonitoredState,
  { logger, onResult, onProbe }: Pick<DeliveryOptions, 'logger' | 'onResult'> & { onProbe: () => void },
  previous?: Parts,
): Promise<Parts> {
  const { webhook, smtp } = alerts;
  const channels = { webhook, ca: pem.alertsCa, smtp };
  // Waiting alerts are not lost in a reload that does not change alerts.
  const deliveries =
    previous && isDeepStrictEqual(previous.channels, channels)
      ? previous.deliveries
      : (await openChannels(channels)).map((channel) => createDelivery({ channel, logger, onResult }));
  const { probe, close } = openProbe(upstream, pem.upstreamCa);
  const routeProbes = openRouteProbes(routes, pem.routeCas, onProbe, previous?.routes);
  return {
    probe,
    routes: routeProbes,
    channels,
    deliveries,
    rules: { upstreamDownForMs: alerts.upstreamDownFor, certificateDays: alerts.certificateDays },
    intervalMs: upstream.probeInterval,
    close: (next) => {
      close();
      routeProbes.close(next?.routes);
      if (next?.deliveries !== deliveries) for (const delivery of deliveries) delivery.close();
    },
  };
}

function describeRoute({ name, state }: RouteState) {
  return { name, isKnown: state !== null, down: state?.kind === 'down' ? state : null };
}

function judge(
  registries: { readonly upstream: UpstreamState | null; readonly routes: readonly RouteState[] },
  reports: readonly ProcessReport[],
  { draining, workers, certificate }: Pick<ServerStatus, 'draining' | 'workers' | 'certificate'>,
): ReturnType<typeof judgeReadiness> {
  const facts = {
    ...registries,
    certificateEndMs: findCertificateEnd(reports),
    certificate,
    workers,
    isDraining: draining,
    cache: findCache(reports),
  };
  return judgeReadiness(facts, Date.now());
}

/** The earliest expiry of several certificates; null: no process has reported. */
function findCertificateEnd(reports: readonly ProcessReport[]): number | null {
  const end = Math.min(...reports.map(({ certificateEndMs }) => certificateEndMs));
  return end === Infinity ? null : end;
}

function findCache(reports: readonly ProcessReport[]): ProcessReport['cache'] | null {
  const states = reports.map(({ cache }) => cache);
  return (
    states.find((state) => state === 'passed-by') ??
    states.find((state) => state === 'used') ??
    states[0] ??
    null
  );
}

/** Why the last run of the clean-up took nothing, or not all; null: it did its work, or there was none. */
function findCleanFailure(clean: ServerStatus['clean']): string | null {
  const run = clean?.told?.lastRun;
  return run === undefined || run === null || run.result === 'done' ? null : (run.why ?? 'its log says why');
}

function sumLockOuts(reports: readonly ProcessReport[]) {
  return {
    count: reports.reduce((sum, { lockOuts }) => sum + lockOuts.count, 0),
    latest: reports.find(({ lockOuts }) => lockOuts.latest !== null)?.lockOuts.latest ?? null,
  };
}
