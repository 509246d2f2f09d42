import type { MetricFamily, MetricValue } from '../telemetry/metrics/metric-family.ts';
import type { ProcessReport } from '../telemetry/metrics/metrics.ts';

/** Keeps the last report of each worker, and what was counted by those that have ended: so no counter falls with a worker. */
export type ReportHistory<Member> = {
  received(member: Member, report: ProcessReport): void;
  ended(member: Member): void;
  /** One for each worker that has reported, and one for all that have ended. */
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

/** Adds what a process has counted; what was only so while it lived is left out. Its size is that of the labels, not of the past. */
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
