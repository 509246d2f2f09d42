import type { UsageAnswer, UsageQuestion } from '../../usage/usage-question.ts';
import type { UsageTimes } from '../../usage/usage-server.ts';
import type { DoorPause } from './door-pauses.ts';
import type {
  CleanStatusNumbers,
  DoorRequest,
  DoorResponse,
  Evidence,
  EvidenceQuestion,
  Hello,
  TagAnswer,
  TagWish,
} from './messages.ts';

/** The front doors cannot do what they must, as a sentence that says why: the run ends. */
export class DoorsError extends Error {
  override readonly name = 'DoorsError';
  /** When it ends without anybody's doing, in milliseconds since the epoch; null: it does not. */
  readonly endsMs: number | null;
  constructor(
    message: string,
    { endsMs = null, ...options }: ErrorOptions & { endsMs?: number | null } = {},
  ) {
    super(message, options);
    this.endsMs = endsMs;
  }
}

/** The front doors of a registry, as the cleaner sees them. Each call throws DoorsError. */
export type Doors = {
  /** Waits until front doors have connected, or connected again; for some seconds at most. */
  arrive(): Promise<void>;
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
  /**
   * Reads the records of usage of all front doors, page by page: the same name may come more than once. Every pull since
   * `since` is in them. No page: one of them records nothing.
   */
  usage<Question extends UsageQuestion>(
    question: Question,
  ): AsyncIterable<UsageTimes & { readonly rows: readonly UsageAnswer<Question>[] }>;
  /** Resolves when all of them know that these manifests were taken. */
  announceTaken(digests: readonly string[]): Promise<void>;
  removeTag(wish: TagWish): Promise<TagAnswer>;
  /** Holds writes, and waits until none is under way. Null: they did not end in time. */
  pause(maxPauseMs: number): Promise<DoorPause | null>;
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
export type MergedEvidence = Omit<Evidence, 'redis'>;

export type DoorLock = {
  /** Deletes at the registry. Returns its status; null: unknown whether it acted. */
  deleteManifest(repository: string, digest: string): Promise<number | null>;
  deleteBlob(repository: string, digest: string): Promise<number | null>;
  /** Whether it was held at the last evidence, at most half a second ago. */
  isSure(): boolean;
  release(): Promise<void>;
};
