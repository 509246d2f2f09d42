import { statfs } from 'node:fs/promises';
import type { Logger } from 'pino';
import { OperatorError } from '../../system/operator-error.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { DoorsError, type Doors } from '../channel/doors.ts';
import { findGraceEnd, findGraceWait } from '../channel/grace-wait.ts';
import { formatMinute } from '../channel/minute.ts';
import type { Plan } from '../plan/plan.ts';
import { planJson } from '../plan/plan-json.ts';
import { planStorage, type StoragePlanSettings } from '../plan/plan-storage.ts';
import { openPlanUsage } from '../plan/plan-usage.ts';
import { renderPlan } from '../plan/render-plan.ts';
import type { CleanStatusNumbers } from '../channel/messages.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import type { Counts } from '../quarantine/journal.ts';
import { findPurgeable, purgeRuns } from '../quarantine/purge.ts';
import { recoverAll } from '../quarantine/recovery.ts';
import { readRuns, type RunRecord } from '../quarantine/run-record.ts';
import { undoRun, type UndoSummary } from '../quarantine/undo.ts';
import { runClean, type RunSummary } from '../run/run.ts';
import type { CleanWork } from './cleaner.ts';
import type { JobContext } from './jobs.ts';
import { noteLastRun, readLastRun, type LastRun } from './last-run.ts';
import { hasRegistryFiles } from './registry-files.ts';
import { removeTag } from './remove-tag.ts';
import { count, formatBytes, formatStatus, statusJson, type CleanerStatus } from './status.ts';
import { withLock } from './with-lock.ts';

export type OnlineSettings = StoragePlanSettings & {
  readonly version: string;
  readonly schedule: string | null;
  readonly clean: { readonly quarantine: number };
};

export type OnlineWorkOptions = {
  readonly folder: CleanFolder;
  readonly doors: Doors;
  readonly settings: OnlineSettings;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** When the cleaner began, in milliseconds since the epoch. */
  readonly startedAt: number;
  /** Outlives a reload. */
  readonly memory: WorkMemory;
};

export type WorkMemory = {
  /** Runs that failed or were refused. */
  failures: number;
  /** By the last run that was done. */
  taken: Counts;
};

export const nothingTaken: Counts = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };

/** The work on a registry whose files are on this machine. */
export function createOnlineWork(options: OnlineWorkOptions): CleanWork {
  const { folder, doors, settings, logger, startedAt, memory } = options;
  const { root } = folder;
  const { clean, version } = settings;

  const readDoors = async (): Promise<Pick<CleanerStatus, 'doors' | 'doorsFault' | 'takesFrom'>> => {
    try {
      const facts = await doors.check();
      return { doors: facts.doors, doorsFault: null, takesFrom: findGraceEnd(facts, Date.now()) };
    } catch (error) {
      if (!(error instanceof DoorsError)) throw error;
      return { doors: [], doorsFault: error.message, takesFrom: null };
    }
  };
  const readStatus = async (): Promise<Omit<CleanerStatus, 'job' | 'nextRun' | 'dueRun'>> => {
    const [runs, lastRun, space, aboutDoors] = await Promise.all([
      readRuns(folder),
      readLastRun(folder),
      statfs(root),
      readDoors(),
    ]);
    return {
      version,
      startedAt,
      registry: root,
      schedule: settings.schedule,
      ...aboutDoors,
      running: false,
      lastRun,
      quarantinedBytes: runs.reduce((sum, { bytes }) => sum + bytes, 0),
      freeBytes: space.bavail * space.bsize,
      failures: memory.failures,
      runs,
    };
  };
  const purge = async (endedBeforeMs: number): Promise<string> => {
    // A run that was cut off is in quarantine from then on, and can be purged.
    await recoverAll(folder, { nowMs: Date.now(), graceMs: clean.grace });
    const purgeable = await findPurgeable(folder, { endedBeforeMs, nowMs: Date.now() });
    const { runs, bytes } = await purgeRuns(folder, purgeable);
    for (const run of runs) logger.info({ run }, 'quarantine purged');
    return runs.length === 0
      ? 'There is nothing to purge.\n'
      : `Deleted for good: ${runs.join(', ')}. ${formatBytes(bytes)} freed.\n`;
  };

  return {
    plan: async ({ json, all, columns }, context) => {
      const plan = await planOnline(options, all, context);
      const { takesFrom } = await readDoors();
      const pieces = json ? planJson(plan) : renderPlan(plan, { columns, all, takesFromMs: takesFrom });
      return { pieces, goes: plan.goes };
    },
    findWait: () => findGraceWait(doors, Date.now),
    pausesWrites: false,
    run: async ({ signal, onProgress }) => {
      doors.publishStatus(numbersOf(await readStatus(), true));
      memory.taken = nothingTaken;
      if (!(await hasRegistryFiles(root, doors)))
        return 'There was nothing to take: nothing has been pushed yet.\n';
      const { immutableTags, placeOf } = settings;
      const begun = { folder, doors, version, clean, immutableTags, placeOf, logger, nowMs: Date.now };
      const summary = await runClean({ ...begun, signal, onProgress });
      memory.taken = summary.taken;
      const { run, result, taken, leftCount, longestHoldMs } = summary;
      logger.info(
        { run, result, ...taken, left: leftCount, longestHoldMs: Math.ceil(longestHoldMs) },
        'run ended',
      );
      return describeSummary(summary);
    },
    undo: async (named, { signal, onProgress }) => {
      const run = named ?? findUndoable(await readRuns(folder));
      const summary = await undoRun({
        ...{ folder, run, signal, nowMs: Date.now, keepMs: clean.quarantine, graceMs: clean.grace },
        locked: (keys, work) => withLock(doors, keys, signal, work),
        onProgress: (done, total) => onProgress({ phase: 'bringing back', done, total }),
      });
      logger.info({ run, ...summary.restored, impossible: summary.impossibleCount }, 'run undone');
      return describeUndo(summary, clean.quarantine);
    },
    purge: () => purge(Date.now()),
    purgeExpired: async () => {
      await purge(Date.now() - clean.quarantine);
    },
    removeTag: async (target, { signal }) => {
      const { repository, tag } = target;
      if (settings.immutableTags.some((pattern) => pattern.matches(repository, tag)))
        throw new OperatorError(
          `${repository}:${tag} is an immutable tag (immutableTags), and stays as it was pushed.`,
        );
      const run = await removeTag({ folder, doors, version, signal }, target);
      logger.info({ run, what: 'tag', repository, tag }, 'taken');
      return `Removed ${repository}:${tag}. tidegate clean undo ${run} brings it back.\n`;
    },
    status: async ({ json }, about) => {
      const status = {
        ...(await readStatus()),
        job: about.job,
        dueRun: about.dueRun,
        nextRun: about.nextRun?.getTime() ?? null,
        running: about.job?.name === 'run',
      };
      return json ? statusJson(status) : formatStatus(status);
    },
    ended: async ({ name, since, until, error, isPutOff }) => {
      if (name === 'plan') return;
      if (name === 'run' && !isPutOff) {
        await noteLastRun(folder, {
          ...{ endedAt: until, why: error },
          ...(error === null ? { result: 'done', ...memory.taken } : await findFailure(folder, since)),
        });
        if (error !== null) memory.failures += 1;
      }
      doors.publishStatus(numbersOf(await readStatus(), false));
    },
  };
}

async function planOnline(
  { folder, doors, settings }: OnlineWorkOptions,
  all: boolean,
  { signal, onProgress }: JobContext,
): Promise<Plan> {
  return planStorage({
    ...{ folder, settings, doors, all, signal, onProgress },
    notes: await findRefusal(doors),
    usage: await openPlanUsage(doors),
  });
}

/** Why a run would be refused now. */
async function findRefusal(doors: Doors): Promise<string[]> {
  try {
    await doors.check();
    return [];
  } catch (error) {
    if (error instanceof DoorsError) return [`A run would be refused now: ${error.message}`];
    throw error;
  }
}

/** @throws OperatorError when there is none */
function findUndoable(runs: readonly RunRecord[]): string {
  const last = runs.find(({ state, taken }) => state !== 'undone' && state !== 'purged' && !isNothing(taken));
  if (last === undefined)
    throw new OperatorError('There is no run to undo: nothing that was taken is still in quarantine.');
  return last.run;
}

function describeUndo(
  { run, restored, there, impossible, impossibleCount, damagedLines }: UndoSummary,
  keepMs: number,
): string {
  const lines = [
    `Brought back from ${run}: ${describeCounts(restored)}. No run takes them again before ${formatMinute(Date.now() + keepMs)}.`,
    ...(there > 0 ? [`${there} were there again already.`] : []),
    ...(impossibleCount > 0 ? [`${impossibleCount} cannot be brought back:`] : []),
    ...impossible.map(({ item, why }) => `  ${item}: ${why}`),
    ...(impossibleCount > impossible.length ? [`  and ${impossibleCount - impossible.length} more`] : []),
    ...(damagedLines > 0
      ? [
          `${damagedLines} lines of its journal cannot be read; what they name stays in the folder of the run.`,
        ]
      : []),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

/** What of it the front doors are told, for metrics and alerts. */
function numbersOf(
  { lastRun, quarantinedBytes, freeBytes, failures }: CleanStatusNumbers,
  running: boolean,
): CleanStatusNumbers {
  return { running, lastRun, quarantinedBytes, freeBytes, failures };
}

/** Whether a run that threw had taken anything by then. */
async function findFailure(folder: CleanFolder, since: number): Promise<Omit<LastRun, 'endedAt' | 'why'>> {
  const [last] = await readRuns(folder);
  return last?.result === 'failed' && (last.endedAt ?? 0) >= since
    ? { result: 'failed', ...last.taken }
    : { result: 'refused', ...nothingTaken };
}

const maxListed = 20;

const isNothing = ({ tags, manifests, layers, blobs }: Counts) => tags + manifests + layers + blobs === 0;

function describeSummary({ run, result, taken, left, leftCount, purged }: RunSummary): string {
  const lines = [
    run === null
      ? result === 'stopped'
        ? 'Stopped before anything was taken.'
        : 'There was nothing to take.'
      : isNothing(taken)
        ? `${result === 'stopped' ? 'Stopped, as asked for. ' : ''}Took nothing.`
        : `${result === 'stopped' ? 'Stopped, as asked for. ' : ''}Took into quarantine: ${describeCounts(taken)}. tidegate clean undo ${run} brings this back.`,
    ...(leftCount > 0 ? [`${leftCount} of the plan stay for now:`] : []),
    ...left.slice(0, maxListed).map(({ what, why }) => `  ${what}: ${why}`),
    ...(leftCount > maxListed ? [`  and ${leftCount - maxListed} more`] : []),
    ...(purged.runs.length > 0
      ? [`Deleted for good, after clean.quarantine: ${purged.runs.join(', ')}, ${formatBytes(purged.bytes)}.`]
      : []),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

function describeCounts({ tags, manifests, layers, blobs, bytes }: Counts): string {
  return [
    count(tags, 'tag'),
    count(manifests, 'manifest'),
    count(layers, 'link', 'links to blobs'),
    `${count(blobs, 'blob')} (${formatBytes(bytes)})`,
  ].join(', ');
}
