import type { UsagePull } from '../../usage/usage-file.ts';
import type { UsageQuestion } from '../../usage/usage-question.ts';

/** What is recorded about one repository. Times in milliseconds since the epoch. */
export type RepositoryUsage = {
  /** No pull after it is missing. */
  readonly sinceMs: number;
  /** The last pulls, by tag and by digest. */
  readonly pulls: ReadonlyMap<string, number>;
};

/** The same of several repositories, by their names. Those without a pull are left out. */
export type SeveralUsages = {
  readonly sinceMs: number;
  readonly pulls: ReadonlyMap<string, ReadonlyMap<string, number>>;
};

/** The record of usage. */
export type PlanUsage = {
  readonly sinceMs: number;
  read(repository: string): Promise<RepositoryUsage>;
  /** @param repositories as many as one question may have */
  readAll(repositories: readonly string[]): Promise<SeveralUsages>;
};

/** Who can be asked about the record, page by page: the front doors, or whoever reads the file. */
export type UsageSource = {
  usage(
    question: Extract<UsageQuestion, { ask: 'pulls' }>,
  ): AsyncIterable<{ readonly since: number; readonly rows: readonly UsagePull[] }>;
};

/** Reads the record. Null: there is none. */
export async function openPlanUsage(source: UsageSource): Promise<PlanUsage | null> {
  const readAll = async (repositories: readonly string[]): Promise<SeveralUsages | null> => {
    let sinceMs: number | null = null;
    const pulls = new Map<string, Map<string, number>>();
    for await (const { since, rows } of source.usage({ ask: 'pulls', repositories })) {
      // The beginning moves on when rows have to go.
      sinceMs = Math.max(sinceMs ?? since, since);
      for (const { repository, name, at } of rows) notePull(pulls, repository, name, at);
    }
    return sinceMs === null ? null : { sinceMs, pulls };
  };
  const first = await readAll([]);
  if (first === null) return null;
  const { sinceMs } = first;
  const readSome = async (repositories: readonly string[]) =>
    (await readAll(repositories)) ?? { sinceMs: Infinity, pulls: new Map<string, Map<string, number>>() };
  return {
    sinceMs,
    readAll: readSome,
    read: async (repository) => {
      const usage = await readSome([repository]);
      return { sinceMs: usage.sinceMs, pulls: usage.pulls.get(repository) ?? new Map<string, number>() };
    },
  };
}

/** Several front doors may know the same: the latest counts. */
function notePull(
  pulls: Map<string, Map<string, number>>,
  repository: string,
  name: string,
  atMs: number,
): void {
  let own = pulls.get(repository);
  if (own === undefined) pulls.set(repository, (own = new Map<string, number>()));
  own.set(name, Math.max(atMs, own.get(name) ?? 0));
}
