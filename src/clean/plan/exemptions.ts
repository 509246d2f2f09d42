import type { Doors } from '../channel/doors.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import { readLeftAlone } from '../quarantine/left-alone.ts';
import { readProtection, type Protection } from '../quarantine/protected-runs.ts';

/** What a run leaves in its place whatever the rules say. Times in milliseconds since the epoch. */
export type Exemptions = {
  /** What undo restored. */
  readonly restored: Protection;
  /** Until when nothing is taken from a repository, since a delete there had an unknown outcome; null: it may be. */
  readonly leftAloneUntilMs: (repository: string) => number | null;
  /** Finds those of these digests that front doors answered within clean.grace. */
  readonly findLeased: (digests: readonly string[]) => Promise<ReadonlySet<string>>;
};

/** The same of one repository. */
export type RepositoryExemptions = {
  readonly leftAloneUntilMs: number | null;
  readonly tagUntilMs: (tag: string) => number | null;
  readonly linkUntilMs: (digest: string) => number | null;
  readonly isLeased: (digest: string) => boolean;
};

/** In locks and leases: all digests that are not sha256. An upload by one of them is stored under its sha256. */
export const otherDigests = 'digest:other';

/** The most digests of one question. */
const maxDigests = 5000;

export async function readExemptions(
  folder: CleanFolder,
  {
    doors,
    graceMs,
    nowMs,
  }: {
    /** Null: no front door can be asked, so no lease is known. */
    readonly doors: Pick<Doors, 'evidence'> | null;
    readonly graceMs: number;
    readonly nowMs: number;
  },
): Promise<Exemptions> {
  const alone = await readLeftAlone(folder);
  return {
    restored: await readProtection(folder, nowMs),
    leftAloneUntilMs: (repository) => {
      const untilMs = alone.get(repository) ?? 0;
      return untilMs > nowMs ? untilMs : null;
    },
    findLeased: async (digests) => {
      const leased = new Set<string>();
      if (doors === null || graceMs === 0) return leased;
      for (let at = 0; at < digests.length; at += maxDigests) {
        const asked = digests.slice(at, at + maxDigests);
        const { leases } = await doors.evidence({ digests: asked });
        for (const [index, digest] of asked.entries())
          if (!(nowMs - (leases[index] ?? nowMs) >= graceMs)) leased.add(digest);
      }
      return leased;
    },
  };
}

const noDigests: ReadonlySet<string> = new Set();

export function ofRepository(
  { restored, leftAloneUntilMs }: Exemptions,
  name: string,
  leased: ReadonlySet<string> = noDigests,
): RepositoryExemptions {
  return {
    leftAloneUntilMs: leftAloneUntilMs(name),
    tagUntilMs: (tag) => restored.tag(name, tag),
    linkUntilMs: (digest) => restored.link(name, digest),
    isLeased: (digest) => leased.has(digest),
  };
}

/** Nothing is exempt. */
export const noExemptions: RepositoryExemptions = {
  leftAloneUntilMs: null,
  tagUntilMs: () => null,
  linkUntilMs: () => null,
  isLeased: () => false,
};
