import { join } from 'node:path';
import { checkGrace } from '../channel/grace-wait.ts';
import { readExemptions, type Exemptions } from '../plan/exemptions.ts';
import { openPlanUsage } from '../plan/plan-usage.ts';
import { createPlan } from '../plan/create-plan.ts';
import type { Plan } from '../plan/plan.ts';
import { readUntaggedRecord, writeUntaggedRecord, type UntaggedRecord } from '../plan/untagged-record.ts';
import type { Counts } from '../quarantine/journal.ts';
import { findPurgeable, purgeRuns, type PurgeSummary } from '../quarantine/purge.ts';
import { openQuarantine } from '../quarantine/quarantine.ts';
import { recoverAll } from '../quarantine/recovery.ts';
import { DigestMemory } from '../scan/digest-memory.ts';
import { ManifestReader } from '../scan/manifest-reader.ts';
import { createHolds } from './holds.ts';
import { checkLocal, checkSingleRegistry } from './local-storage.ts';
import { probeRegistry } from './probe.ts';
import type { LeftBehind, RunContext, RunOptions } from './run-context.ts';
import { takeData } from './take-data.ts';
import { takeLinks } from './take-links.ts';

/** What a run did. */
export type RunSummary = {
  /** Null: nothing was to go. */
  readonly run: string | null;
  /** `stopped`: ended early, as it was told. */
  readonly result: 'done' | 'stopped';
  readonly taken: Counts;
  /** What the plan named and the run left. Of much the first. */
  readonly left: readonly LeftBehind[];
  readonly leftCount: number;
  /** The longest time that requests were held, in milliseconds. */
  readonly longestHoldMs: number;
  /** What had been in quarantine for long enough. */
  readonly purged: PurgeSummary;
};

const maxLeft = 100;
const nothing: Counts = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };

/**
 * Cleans the registry up, while it serves on: what goes by the plan is taken into the quarantine, and what was there for long
 * enough is deleted. Fails closed.
 *
 * @throws OperatorError or DoorsError; what was taken by then is in quarantine
 */
export async function runClean(options: RunOptions): Promise<RunSummary> {
  const { folder, doors, clean, nowMs } = options;
  await recoverAll(folder, { nowMs: nowMs(), graceMs: clean.grace });
  const holds = createHolds(doors);
  await checkPreconditions(options);
  await probeRegistry(options, holds);
  const usage = await openPlanUsage(doors);
  const untagged = await readUntaggedRecord(join(folder.path, untaggedName));
  const exemptions = await readExemptions(folder, { doors, graceMs: clean.grace, nowMs: nowMs() });
  const plan = await unlessStopped(options, planRun(options, { usage, untagged, exemptions }));
  const left: LeftBehind[] = [];
  let leftCount = 0;
  const end = async (run: string | null, taken: Counts): Promise<RunSummary> => ({
    ...{ run, taken, left, leftCount, longestHoldMs: holds.longestMs },
    result: isStopped(options) ? 'stopped' : 'done',
    purged: await purgeOld(options),
  });
  if (plan === null) return end(null, nothing);
  if (!plan.goes || isStopped(options)) {
    await writeUntaggedRecord(join(folder.path, untaggedName), plan.untagged);
    return end(null, nothing);
  }
  const quarantine = await openQuarantine(folder, { version: options.version, nowMs: nowMs() });
  const context: RunContext = {
    ...options,
    ...{ quarantine, holds, usage, untagged, protection: exemptions.restored },
    manifests: new ManifestReader(folder.root, { memory: new DigestMemory(clean.digestMemory) }),
    leave: (what, why) => {
      leftCount += 1;
      if (left.length < maxLeft) left.push({ what, why });
    },
  };
  try {
    await unlessStopped(options, takeAll(context, plan));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // On a full disk this fails as well; then the next run finds out.
    await quarantine.end('failed', why, nowMs()).catch(() => {});
    throw error;
  }
  await quarantine.end(isStopped(options) ? 'stopped' : 'done', null, nowMs());
  await writeUntaggedRecord(join(folder.path, untaggedName), plan.untagged);
  return end(quarantine.run, quarantine.counts);
}

function isStopped({ signal }: RunOptions): boolean {
  return signal.aborted;
}

/** Null: it was told to stop while it read the storage, which breaks off at once. */
async function unlessStopped<Result>(options: RunOptions, work: Promise<Result>): Promise<Result | null> {
  try {
    return await work;
  } catch (error) {
    if (isStopped(options) && error instanceof Error && error.name === 'AbortError') return null;
    throw error;
  }
}

/** In the cleaner's folder. */
const untaggedName = 'untagged';

/** @throws OperatorError or DoorsError unless all is as a run needs it */
async function checkPreconditions({ folder, doors, nowMs }: RunOptions): Promise<void> {
  await checkLocal(folder.root);
  await checkSingleRegistry(folder.root);
  await doors.arrive();
  await checkGrace(doors, nowMs);
}

function planRun(
  { folder, clean, immutableTags, placeOf, nowMs, signal, onProgress }: RunOptions,
  facts: {
    readonly usage: RunContext['usage'];
    readonly untagged: UntaggedRecord;
    readonly exemptions: Exemptions;
  },
): Promise<Plan> {
  return createPlan({
    ...{ root: folder.root, clean, immutableTags, placeOf, signal },
    ...facts,
    nowMs: nowMs(),
    onProgress: ({ repositories }) => onProgress({ phase: 'plan', done: repositories, total: null }),
  });
}

async function takeAll(context: RunContext, plan: Plan): Promise<void> {
  const { signal, onProgress } = context;
  const total = plan.repositories.length;
  for (const [done, repository] of plan.repositories.entries()) {
    if (signal.aborted) return;
    onProgress({ phase: 'repositories', done, total });
    await takeLinks(context, repository);
  }
  if (!signal.aborted) await takeData(context, plan);
}

async function purgeOld({ folder, clean, nowMs, logger }: RunOptions): Promise<PurgeSummary> {
  const old = await findPurgeable(folder, { endedBeforeMs: nowMs() - clean.quarantine, nowMs: nowMs() });
  const purged = await purgeRuns(folder, old);
  for (const run of purged.runs) logger.info({ run }, 'quarantine purged');
  return purged;
}
