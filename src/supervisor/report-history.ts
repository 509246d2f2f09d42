import type { MetricFamily, MetricValue } from '../telemetry/metrics/metric-family.ts';
import type { ProcessReport } from '../telemetry/metrics/metrics.ts';

/** Keeps the last report of each worker, and the counts of ended ones: so no counter falls. */
export type ReportHistory<Member> = {
  received(member: Member, report: ProcessReport): void;
  ended(member: Member): void;
  /** One report per worker, and one for all that have ended. */
  reports(): readonly ProcessReport[];
};

export function createReportHistory<Member>(): ReportHistory<Member> {
  const latest = new Map<Member, ProcessReport>();
  let past: ProcessReport | undefined;
  return {
    received: (member, report) => latest.set(member, report),
    ended: (member) => {
      const last = latest.get(member);
      latest.delete(member);
      if (last) past = addCounts(past, last);
    },
    reports: () => [...latest.values(), ...(past ? [past] : [])],
  };
}

/** Adds the counts of a process, without its gauges. The size depends on the labels, not on the past. */
function addCounts(past: ProcessReport | undefined, last: ProcessReport): ProcessReport {
  const families = new Map<string, MetricFamily>(past?.families.map((family) => [family.name, family]));
  for (const family of last.families) {
    if (family.type === 'gauge') continue;
    const values = addValues(families.get(family.name)?.values ?? [], family.values);
    families.set(family.name, { ...family, values });
  }
  return {
    families: [...families.values()],
    certificateEndMs: Infinity,
    cache: 'off',
    lockOuts: {
      count: (past?.lockOuts.count ?? 0) + last.lockOuts.count,
      latest: last.lockOuts.latest ?? past?.lockOuts.latest ?? null,
    },
  };
}

function addValues(some: readonly MetricValue[], more: readonly MetricValue[]): MetricValue[] {
  const sums = new Map<string, MetricValue>();
  for (const each of [...some, ...more]) {
    const key = JSON.stringify([each.metricName, each.labels]);
    sums.set(key, { ...each, value: each.value + (sums.get(key)?.value ?? 0) });
  }
  return [...sums.values()];
}
