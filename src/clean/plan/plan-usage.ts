import type { UsageRow } from '../../usage/usage-file.ts';
import type { Doors } from '../channel/doors.ts';

/** What is recorded about one repository. Times in milliseconds since the epoch. */
export type RepositoryUsage = {
  /** No pull after it is missing. */
  readonly sinceMs: number;
  /** The last pulls, by tag and by digest. */
  readonly pulls: ReadonlyMap<string, number>;
};

/** The record of usage. */
export type PlanUsage = {
  readonly sinceMs: number;
  read(repository: string): Promise<RepositoryUsage>;
};

/** Reads the record through the front doors. Null: there is none. */
export async function openPlanUsage(doors: Pick<Doors, 'usage'>): Promise<PlanUsage | null> {
  for await (const { since } of doors.usage({ ask: 'repositories' })) {
    return {
      sinceMs: since,
      read: async (repository) => {
        // The beginning moves on when rows have to go.
        let sinceMs = since;
        const rows: UsageRow[] = [];
        for await (const page of doors.usage({ ask: 'references', repository })) {
          sinceMs = Math.max(sinceMs, page.since);
          for (const row of page.rows) rows.push(row);
        }
        return { sinceMs, pulls: readPulls(rows) };
      },
    };
  }
  return null;
}

export function readPulls(rows: readonly UsageRow[]): ReadonlyMap<string, number> {
  return new Map(rows.flatMap(({ name, pulls }) => (pulls.at === null ? [] : [[name, pulls.at] as const])));
}
