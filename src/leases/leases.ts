import { randomFillSync } from 'node:crypto';
import { slotOf } from './slot.ts';

/** What the clean-up wants to know before it takes these. */
export type EvidenceQuestion = {
  readonly repositories: readonly string[];
  readonly digests: readonly string[];
};

/** What one process has answered and written. */
export type Evidence = {
  /** Random, of this process: counters of another one mean nothing. */
  readonly epoch: string;
  /** From when on leases are known, in milliseconds since the epoch. */
  readonly since: number;
  /** When each digest was last answered about, at most a second later than it was, in milliseconds since the epoch; 0: not since then. */
  readonly leases: readonly number[];
  /** The write counter of each repository, and of each digest: equal ones prove that no write began or ended in between. */
  readonly writes: readonly number[];
  readonly digestWrites: readonly number[];
};

/**
 * What this process lately answered and wrote, so that nothing that a client relies on is taken. In fixed memory: names
 * that share a slot keep each other longer, and no lease is lost.
 */
export type Leases = {
  /** Notes that a client was or will be told that this digest is there. Call it before the client is. */
  readonly note: (digest: string) => void;
  /** Notes that a client may rely on anything, since what it relies on is not known. */
  readonly noteAll: () => void;
  /** Notes that a write there begins or ends. @param key a repository or a digest */
  readonly noteWrite: (key: string) => void;
  readonly read: (question: EvidenceQuestion) => Evidence;
};

export type LeasesOptions = {
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. A jump of this clock makes no lease older. */
  readonly wallClock: () => number;
};

const leaseSlots = 2 ** 18;
const writeSlots = 2 ** 16;
/** As much of a digest's end as tells enough of them apart. */
const tailLength = 16;

export function createLeases({ now, wallClock }: LeasesOptions): Leases {
  /** Seconds from the start until the end of the second of the last answer; 0: none. */
  const answered = new Uint32Array(leaseSlots);
  const writes = randomFillSync(new Uint32Array(writeSlots));
  const epoch = randomFillSync(Buffer.alloc(16)).toString('hex');
  const startedMs = now();
  let sinceMs = startedMs;

  const readWrites = (key: string): number => writes[slotOf(key, writeSlots)] ?? 0;

  return {
    note: (digest) => {
      const slot = slotOf(digest, leaseSlots, Math.max(0, digest.length - tailLength));
      answered[slot] = Math.trunc((now() - startedMs) / 1000) + 1;
    },
    noteAll: () => {
      sinceMs = now();
    },
    noteWrite: (key) => {
      const slot = slotOf(key, writeSlots);
      writes[slot] = (writes[slot] ?? 0) + 1;
    },
    read: ({ repositories, digests }) => {
      const toWallClockMs = (atMs: number) => Math.ceil(wallClock() - (now() - atMs));
      return {
        epoch,
        since: toWallClockMs(sinceMs),
        leases: digests.map((digest) => {
          const slot = slotOf(digest, leaseSlots, Math.max(0, digest.length - tailLength));
          const seconds = answered[slot] ?? 0;
          return seconds === 0 ? 0 : toWallClockMs(startedMs + seconds * 1000);
        }),
        writes: repositories.map(readWrites),
        digestWrites: digests.map(readWrites),
      };
    },
  };
}
