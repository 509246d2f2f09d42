import { join } from 'node:path';
import type { Doors } from '../channel/doors.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import { createPlan } from './create-plan.ts';
import type { PlanOptions } from './plan-options.ts';
import { readExemptions } from './exemptions.ts';
import type { PlanUsage } from './plan-usage.ts';
import type { Plan } from './plan.ts';
import { readUntaggedRecord } from './untagged-record.ts';

/** What of the configuration a plan needs. */
export type StoragePlanSettings = Pick<PlanOptions, 'clean' | 'immutableTags' | 'placeOf'>;

export type StoragePlanOptions = {
  /** May be missing on disk: then nothing is exempt. */
  readonly folder: CleanFolder;
  readonly settings: StoragePlanSettings;
  /** Null: no front door can be asked what it answered. */
  readonly doors: Pick<Doors, 'evidence'> | null;
  readonly usage: PlanUsage | null;
  readonly notes: readonly string[];
  readonly all: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: {
    readonly phase: string;
    readonly done: number;
    readonly total: null;
  }) => void;
};

/** Plans a run by the storage and by what earlier runs left in their folder there. Changes nothing. */
export async function planStorage(options: StoragePlanOptions): Promise<Plan> {
  const { folder, settings, doors, usage, notes, all, signal, onProgress } = options;
  const { clean, immutableTags, placeOf } = settings;
  const nowMs = Date.now();
  return createPlan({
    ...{ root: folder.root, clean, immutableTags, placeOf, usage, notes, all, signal, nowMs },
    exemptions: await readExemptions(folder, { doors, graceMs: clean.grace, nowMs }),
    untagged: await readUntaggedRecord(join(folder.path, 'untagged')),
    onListed: (done) => onProgress({ phase: 'blobs listed', done, total: null }),
    onProgress: ({ repositories: done }) => onProgress({ phase: 'repositories read', done, total: null }),
  });
}
