import type { RawHeaders } from '../../http/raw-headers.ts';
import type { UsageQuestion } from '../../usage/usage-question.ts';

/** A front door says first who it is. One that does not serve yet tells `serving` as soon as it does. */
export type Hello = {
  readonly kind: 'hello';
  readonly door: {
    /** New at each start. */
    readonly id: string;
    readonly pid: number;
    readonly host: string;
    readonly version: string;
  };
  /** False: it is starting, and does not serve before it is `noted`, or waited for that in vain. */
  readonly serves: boolean;
  /** `clean.grace`, in milliseconds. */
  readonly graceMs: number;
};

/** The name of a front door in its Redis, and those of the others there. */
export type RedisPeers = { readonly me: string; readonly others: readonly string[] };

/** What a cleaner asks of a front door. */
export type DoorAsk =
  /**
   * Lets nothing reach these repositories and digests, and ends cached answers of these repositories; keeps clients'
   * deletes out as well, in all instances that share a Redis. Answered with {@link LockAnswer}.
   */
  | {
      readonly kind: 'lock';
      readonly id: string;
      readonly keys: readonly string[];
      readonly waitMs: number;
    }
  | { readonly kind: 'unlock'; readonly id: string }
  /** Answered with {@link Evidence}. */
  | ({ readonly kind: 'evidence'; readonly lockId: string | null } & EvidenceQuestion)
  /** A delete at the registry, under a lock that holds its repository. Answered with {@link DeleteAnswer}. */
  | ({ readonly kind: 'delete'; readonly lockId: string } & DeleteWish)
  /** Removes a tag and no twin. Answered with {@link TagAnswer}. */
  | ({ readonly kind: 'remove-tag' } & TagWish)
  /** A request to the registry. Answered with {@link DoorResponse}. */
  | ({ readonly kind: 'request' } & DoorRequest)
  /** Adds manifests that were ever taken; `isAll`: with those told so far these are all. */
  | { readonly kind: 'taken'; readonly digests: readonly string[]; readonly isAll: boolean }
  /** A page of the record of usage. Answered with a UsagePage; null: nothing is recorded. */
  | { readonly kind: 'usage'; readonly question: UsageQuestion }
  /**
   * Holds writes; after `maxPauseMs` they get 503. Ends by itself unless it is asked again within 10 s. Answered with
   * {@link PauseAnswer}.
   */
  | { readonly kind: 'pause'; readonly maxPauseMs: number }
  | { readonly kind: 'resume' }
  /** For metrics and alerts. */
  | { readonly kind: 'status'; readonly status: CleanStatusNumbers };

/** What evidence is asked about. */
export type EvidenceQuestion = {
  readonly repositories: readonly string[];
  readonly digests: readonly string[];
};

/** What a front door has answered and written. Times in milliseconds since the epoch. */
export type Evidence = {
  /** Equal to an earlier one: no count has begun anew since. */
  readonly epoch: string;
  /** Whether the lock was certainly held; false without one. */
  readonly held: boolean;
  /** Since when leases are known. */
  readonly leasesSince: number;
  /** When each digest was last answered with success; 0: never. */
  readonly leases: readonly number[];
  /** A count for each repository, and for each digest: equal to an earlier one if nothing was written since. */
  readonly writes: readonly number[];
  readonly digestWrites: readonly number[];
  /** The instances that its Redis knows; null: it shares none. */
  readonly redis: RedisPeers | null;
};

export type LockAnswer = { readonly locked: boolean };

export type DeleteWish = {
  readonly repository: string;
  readonly what: 'manifest' | 'blob';
  readonly digest: string;
};

/** The registry's status; null: unknown whether it acted. */
export type DeleteAnswer = { readonly status: number | null };

export type TagWish = {
  readonly repository: string;
  readonly tag: string;
  /** What it must lead to; null: anything. */
  readonly digest: string | null;
};

/** Whether no write is under way. */
export type PauseAnswer = { readonly quiet: boolean };

export type TagAnswer = {
  readonly outcome: 'removed' | 'absent' | 'immutable' | 'failed';
  readonly why: string;
};

export type DoorRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  readonly rawTarget: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBase64?: string;
  /** The largest accepted answer. */
  readonly maxBytes: number;
};

export type DoorResponse = {
  readonly status: number;
  readonly rawHeaders: RawHeaders;
  readonly bodyBase64: string;
};

/** How the cleaner fares. Times in milliseconds since the epoch. */
export type CleanStatusNumbers = {
  readonly running: boolean;
  /** The last run that ended; null: none has. */
  readonly lastRun: {
    readonly endedAt: number;
    readonly result: 'done' | 'refused' | 'failed';
    /** Why it was refused or failed, in a sentence; null: it was done. */
    readonly why: string | null;
    readonly tags: number;
    readonly manifests: number;
    readonly blobs: number;
    readonly bytes: number;
  } | null;
  /** Bytes in quarantine, and on the storage's file system. */
  readonly quarantinedBytes: number;
  readonly freeBytes: number | null;
  /** Runs that failed, since the cleaner's start. */
  readonly failures: number;
};
