import type { ScanFault } from '../scan/scan-types.ts';
import type { UntaggedRecord } from './untagged-record.ts';

/** What a run would take, and why. Times in milliseconds since the epoch. */
export type Plan = {
  readonly asOfMs: number;
  /** Since when pulls are recorded; null: they are not. */
  readonly recordSinceMs: number | null;
  /** `clean.untagged` in milliseconds; null: never. */
  readonly untaggedMs: number | null;
  /** Whether a run would take anything. */
  readonly goes: boolean;
  /** Those in which something goes; all, if that was asked for. In the order of the scan. */
  readonly repositories: readonly RepositoryPlan[];
  readonly rules: readonly RuleCount[];
  /** Tags that no rule decides. */
  readonly unruled: TagCount;
  readonly totals: PlanTotals;
  readonly exempt: ExemptCounts;
  /** The data that goes. */
  readonly blobs: Iterable<{ readonly digest: string; readonly bytes: number }>;
  readonly warnings: readonly string[];
  readonly faults: readonly ScanFault[];
  /** Faults beyond those that are listed. */
  readonly moreFaults: number;
  /** For `firstUntagged` of the next plan, if a run does what this one says. */
  readonly untagged: UntaggedRecord;
};

export type RepositoryPlan = {
  readonly name: string;
  /** Those that go; all, if that was asked for. The ones that go first, and the latest push first. */
  readonly tags: readonly PlannedTag[];
  /** Those that go. */
  readonly manifests: readonly PlannedManifest[];
  /** Links to blobs that go. */
  readonly links: number;
  readonly stays: { readonly tags: number; readonly manifests: number };
};

export type PlannedTag = {
  readonly tag: string;
  readonly digest: string | null;
  readonly goes: boolean;
  readonly rule: number | null;
  readonly why: string;
  readonly pushedMs: number;
  readonly pulledMs: number | null;
  /** Of what nothing but this tag holds. */
  readonly bytes: number;
};

export type PlannedManifest = {
  readonly digest: string;
  /** Whether a tag leads to it, which goes as well. */
  readonly isOfTag: boolean;
  readonly pushedMs: number;
  readonly pulledMs: number | null;
  /** Since when no tag leads to it, at the latest. */
  readonly untaggedMs: number;
  /** Of what nothing but this manifest holds; 0 if tags lead to it. */
  readonly bytes: number;
};

export type TagCount = { readonly kept: number; readonly retired: number };
export type RuleCount = TagCount & {
  readonly rule: number;
  readonly words: string;
  /** Until when the record of pulls is too young for the rule to retire anything. Null: it is old enough, or not asked. */
  readonly waitsUntilMs: number | null;
};

export type PlanTotals = {
  readonly repositories: number;
  readonly tags: GoesAndStays;
  readonly manifests: GoesAndStays & {
    /** Of those that stay: no tag leads to them any more, and they go once clean.untagged or clean.grace is over. */
    readonly waiting: number;
  };
  readonly links: GoesAndStays;
  readonly blobs: GoesAndStays;
  readonly bytes: GoesAndStays;
};

/** What stays though the rules, or its age, would let it go. A manifest counts that no tag which stays leads to. */
export type ExemptCounts = {
  /** What undo restored, and until when the last of it stays. */
  readonly restored: { readonly tags: number; readonly manifests: number; readonly untilMs: number | null };
  /** What front doors answered within clean.grace. */
  readonly askedFor: { readonly tags: number; readonly manifests: number; readonly blobs: number };
  /** Repositories where a delete had an unknown outcome. Of many the first. */
  readonly leftAlone: readonly { readonly name: string; readonly untilMs: number }[];
};

type GoesAndStays = { readonly goes: number; readonly stays: number };
