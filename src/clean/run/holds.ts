import { DoorsError, type DoorLock, type Doors, type MergedEvidence } from '../channel/doors.ts';

/** The locks of a run, one at a time. */
export type Holds = {
  /** The longest time that one was held, in milliseconds. */
  readonly longestMs: number;
  /** Works while nothing reaches these repositories and digests. Null: they were in use, so try later. */
  hold<Result>(keys: readonly string[], work: (lock: DoorLock) => Promise<Result>): Promise<Result | null>;
};

export function createHolds(doors: Doors): Holds {
  let longestMs = 0;
  return {
    get longestMs() {
      return longestMs;
    },
    hold: async (keys, work) => {
      const lock = await doors.lock(keys);
      if (lock === null) return null;
      const startedMs = performance.now();
      try {
        return await work(lock);
      } finally {
        await lock.release();
        longestMs = Math.max(longestMs, performance.now() - startedMs);
      }
    },
  };
}

export type EvidenceQuestion = {
  readonly repositories?: readonly string[];
  readonly digests?: readonly string[];
};

/** Asks what was answered and written, and checks that it can be relied on. @throws DoorsError when it cannot */
export async function askEvidence(
  { doors, clean, nowMs }: { doors: Doors; clean: { grace: number }; nowMs: () => number },
  question: EvidenceQuestion,
  lock?: DoorLock,
): Promise<MergedEvidence> {
  const evidence = await doors.evidence({ ...question, ...(lock === undefined ? {} : { lock }) });
  if (evidence.leasesSince + clean.grace > nowMs())
    throw new DoorsError(
      'A front door has begun to note anew what it answers: nothing is taken until clean.grace is over.',
    );
  if (lock !== undefined && !evidence.held) throw new DoorsError('A lock was lost at a front door.');
  return evidence;
}

/** Asks again whether a lock is held, unless that was said just now. @throws DoorsError when it is not */
export async function ensureHeld({ doors }: { doors: Doors }, lock: DoorLock): Promise<void> {
  if (lock.isSure()) return;
  if (!(await doors.evidence({ lock })).held) throw new DoorsError('A lock was lost at a front door.');
}
