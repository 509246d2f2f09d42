import type { ProcessReport } from '../telemetry/metrics/metrics.ts';
import { createReportHistory } from './report-history.ts';

/** Collects the workers' counts. For one that does not answer in time, the last report counts. */
export type MetricsCollector<Member> = {
  /** Adds a worker that listens. */
  join(member: Member): void;
  leave(member: Member): void;
  received(member: Member, report: ProcessReport): void;
  /** Returns the counts of all workers, ended ones included; simultaneous calls share a collection. */
  collect(): Promise<readonly ProcessReport[]>;
};

/** @param options ask: tells a worker to report; limitMs: how long to wait for it */
export function createMetricsCollector<Member>(options: {
  ask: (member: Member) => void;
  limitMs: number;
}): MetricsCollector<Member> {
  const history = createReportHistory<Member>();
  const members = new Set<Member>();
  let round: { readonly missing: Set<Member>; readonly finish: () => void } | undefined;
  let underWay: Promise<readonly ProcessReport[]> | undefined;

  const strike = (member: Member): void => {
    if (round?.missing.delete(member) && round.missing.size === 0) round.finish();
  };
  const collect = async (): Promise<readonly ProcessReport[]> => {
    if (members.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, options.limitMs);
        round = {
          missing: new Set(members),
          finish: () => {
            clearTimeout(timer);
            resolve();
          },
        };
        for (const member of members) options.ask(member);
      });
    }
    round = undefined;
    return history.reports();
  };

  return {
    join: (member) => members.add(member),
    leave: (member) => {
      members.delete(member);
      history.ended(member);
      strike(member);
    },
    received: (member, report) => {
      if (!members.has(member)) return;
      history.received(member, report);
      strike(member);
    },
    collect: () => (underWay ??= collect().finally(() => (underWay = undefined))),
  };
}
