import { DoorsError, type DoorLock, type Doors, type MergedEvidence } from '../channel/doors.ts';

/** The locks of a run, one at a time. */
export type Holds = {
  /** The longest time that requests may have waited for one, in milliseconds. */
  readonly longestMs: number;
  /** The same of the last one. */
  readonly lastMs: number;
  /**
   * Works while nothing reaches these repositories and digests. Null: they were in use, so try later.
   *
   * @param work Begins nothing more once `isOver`: requests have waited long enough.
   * @param waitMs How long others may take to end: requests wait for that, too.
   */
  hold<Result>(
    keys: readonly string[],
    work: (lock: DoorLock, isOver: IsOver) => Promise<Result>,
    waitMs?: number,
  ): Promise<Result | null>;
};

/** Whether requests will have waited for long enough after so many milliseconds more. */
export type IsOver = (nextMs: number) => boolean;

/** In milliseconds. */
const shortWaitMs = 25;
/** When no more work is begun. The rest of 50 ms is for what is under way, and the release. */
const overMs = 38;

export function createHolds(doors: Doors): Holds {
  let longestMs = 0;
  let lastMs = 0;
  return {
    get longestMs() {
      return longestMs;
    },
    get lastMs() {
      return lastMs;
    },
    hold: async (keys, work, waitMs = shortWaitMs) => {
      const startedMs = performance.now();
      let lock: DoorLock | null = null;
      try {
        lock = await doors.lock(keys, waitMs);
        return lock && (await work(lock, (nextMs) => performance.now() - startedMs + nextMs > overMs));
      } finally {
        await lock?.release();
        lastMs = performance.now() - startedMs;
        longestMs = Math.max(longestMs, lastMs);
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
