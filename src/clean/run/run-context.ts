import type { Logger } from 'pino';
import type { TagPattern } from '../../policy/tag-pattern.ts';
import type { Doors } from '../channel/doors.ts';
import type { PlanUsage } from '../plan/plan-usage.ts';
import type { PlanOptions } from '../plan/plan-options.ts';
import type { UntaggedRecord } from '../plan/untagged-record.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import type { Protection } from '../quarantine/protected-runs.ts';
import type { Quarantine } from '../quarantine/quarantine.ts';
import type { ManifestReader } from '../scan/manifest-reader.ts';
import type { Holds } from './holds.ts';

/** How far a run is. A total of null is not known. */
export type RunProgress = { readonly phase: string; readonly done: number; readonly total: number | null };

export type RunOptions = {
  readonly folder: CleanFolder;
  readonly doors: Doors;
  readonly version: string;
  /** `clean` of the configuration. */
  readonly clean: PlanOptions['clean'] & { readonly quarantine: number };
  readonly immutableTags: readonly TagPattern[];
  readonly placeOf: PlanOptions['placeOf'];
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Aborted: ends at the next safe point. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RunProgress) => void;
};

/** What a run left in its place although the plan named it, and why. */
export type LeftBehind = { readonly what: string; readonly why: string };

/** What the steps of a run share. */
export type RunContext = RunOptions & {
  readonly quarantine: Quarantine;
  readonly protection: Protection;
  readonly holds: Holds;
  readonly usage: PlanUsage | null;
  readonly untagged: UntaggedRecord;
  readonly manifests: ManifestReader;
  readonly leave: (what: string, why: string) => void;
};

/** Whether something was used, or written, too lately to be taken. So is what is no time. */
export function isRecent({ clean, nowMs }: RunContext, ms: number): boolean {
  return !(nowMs() - ms >= clean.grace) && clean.grace > 0;
}
