import type { UsageAnswer, UsageQuestion } from '../../usage/usage-question.ts';
import type { UsageTimes } from '../../usage/usage-server.ts';
import type {
  CleanStatusNumbers,
  DoorRequest,
  DoorResponse,
  Evidence,
  EvidenceQuestion,
  Hello,
  TagAnswer,
} from './messages.ts';

/** The front doors cannot do what they must, as a sentence that says why: the run ends. */
export class DoorsError extends Error {
  override readonly name = 'DoorsError';
}

/** The front doors of a registry, as the cleaner sees them. Each call throws DoorsError. */
export type Doors = {
  /**
   * Checks that every front door is here: none is missing or silent, they share a Redis, and agree about `clean.grace`
   * and their version.
   */
  check(): Promise<DoorsFacts>;
  /**
   * Locks repositories and digests (`digest:other` for those that are not sha256) at all front doors; at most
   * {@link maxLockKeys}. Null: not reached in time, try later.
   */
  lock(keys: readonly string[], waitMs?: number): Promise<DoorLock | null>;
  evidence(
    question: Partial<EvidenceQuestion> & { readonly lock?: DoorLock | undefined },
  ): Promise<MergedEvidence>;
  /** Sends a request to the registry through one of them. */
  request(request: DoorRequest): Promise<DoorResponse>;
  /** Reads the record of usage page by page; with several front doors the newest records of all of them. */
  usage<Question extends UsageQuestion>(
    question: Question,
  ): AsyncIterable<UsageTimes & { readonly rows: readonly UsageAnswer<Question>[] }>;
  /** Resolves when all of them know that these manifests were taken. */
  announceTaken(digests: readonly string[]): Promise<void>;
  removeTag(repository: string, tag: string): Promise<TagAnswer>;
  pause(maxPauseMs: number): Promise<void>;
  resume(): Promise<void>;
  publishStatus(status: CleanStatusNumbers): void;
};

/** The most keys of one lock. */
export const maxLockKeys = 200;

export type DoorsFacts = {
  /** Since when every lease is known, in milliseconds since the epoch. */
  readonly leasesSince: number;
  readonly graceMs: number;
  readonly doors: readonly Hello['door'][];
};

/** The evidence of all front doors: the latest leases, summed counts. `held`: the lock was held at all of them. */
export type MergedEvidence = Omit<Evidence, 'redis'> & {
  /** Instances in their Redis that are no front door of this cleaner. */
  readonly strangers: readonly string[];
};

export type DoorLock = {
  /** Deletes at the registry. Returns its status; null: unknown whether it acted. */
  deleteManifest(repository: string, digest: string): Promise<number | null>;
  deleteBlob(repository: string, digest: string): Promise<number | null>;
  /** Whether it was held at the last evidence, at most half a second ago. */
  isSure(): boolean;
  release(): Promise<void>;
};
