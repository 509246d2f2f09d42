import { join } from 'node:path';
import type { Logger } from 'pino';
import type { TagPattern } from '../../policy/tag-pattern.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { DoorsError, type Doors } from '../channel/doors.ts';
import { findGraceEnd, findGraceWait } from '../channel/grace-wait.ts';
import { tryCollector } from '../paused/collect-paused.ts';
import type { PausedDecision } from '../paused/decide-paused.ts';
import { runPaused } from '../paused/paused-run.ts';
import { planPaused, type PausedPlanOptions } from '../paused/plan-paused.ts';
import {
  describePausedRun,
  goesSomething,
  pausedPlanJson,
  renderPausedPlan,
} from '../paused/render-paused.ts';
import { readUntaggedRecord, writeUntaggedRecord } from '../plan/untagged-record.ts';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import type { CleanWork } from './cleaner.ts';
import { noteLastRun, readLastRun } from './last-run.ts';
import type { WorkMemory } from './online-work.ts';
import { formatStatus, statusJson, type CleanerStatus } from './status.ts';

export type PausedWorkOptions = {
  /** Where the cleaner keeps its state: not in the storage. */
  readonly folder: CleanFolder;
  readonly doors: Doors;
  readonly settings: {
    readonly version: string;
    /** The registry's address. */
    readonly registry: string;
    readonly clean: PausedPlanOptions['clean'] & {
      readonly schedule: string | null;
      readonly collector: readonly string[];
      readonly restart: readonly string[];
      readonly maxPause: number;
    };
    readonly immutableTags: readonly TagPattern[];
  };
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  readonly startedAt: number;
  readonly memory: WorkMemory;
};

/** The work on a registry whose own collector frees its storage, while writes are paused. */
export function createPausedWork(options: PausedWorkOptions): CleanWork {
  const { folder, doors, settings, logger, startedAt, memory } = options;
  const { clean, immutableTags, registry, version } = settings;
  const { collector, restart, maxPause: maxPauseMs } = clean;
  const untaggedPath = join(folder.path, 'untagged');

  const readStatus = async (): Promise<Omit<CleanerStatus, 'job' | 'nextRun' | 'dueRun'>> => {
    const facts = await doors.check().catch((error: unknown) => {
      if (error instanceof DoorsError) return error.message;
      throw error;
    });
    const isHere = typeof facts !== 'string';
    return {
      ...{ version, startedAt, registry, schedule: clean.schedule },
      doors: isHere ? facts.doors : [],
      doorsFault: isHere ? null : facts,
      takesFrom: isHere ? findGraceEnd(facts, Date.now()) : null,
      running: false,
      lastRun: await readLastRun(folder),
      ...{ quarantinedBytes: 0, freeBytes: null, failures: memory.failures, runs: [] },
    };
  };
  const noQuarantine = () =>
    Promise.reject(
      new OperatorError('There is no quarantine: with clean.collector what a run takes is gone for good.'),
    );

  return {
    plan: async ({ json, all }, { signal, onProgress }) => {
      const untagged = await readUntaggedRecord(untaggedPath);
      const asOfMs = Date.now();
      const plan = await planPaused({
        ...{ doors, clean, immutableTags, signal, untagged, nowMs: asOfMs },
        onProgress: (done) => onProgress({ phase: 'repositories read', done, total: null }),
      });
      const repositories: PausedDecision[] = [];
      for await (const each of plan.repositories) repositories.push(each);
      const trial = await tryCollector(
        { collector, signal, onProgress: (phase, done) => onProgress({ phase, done, total: null }) },
        maxPauseMs,
        'asking the collector',
      );
      const { recordSinceMs } = plan;
      const report = { asOfMs, recordSinceMs, repositories, blobs: trial.takes.size };
      return {
        pieces: [json ? pausedPlanJson(report) : renderPausedPlan(report, all)],
        goes: goesSomething(report),
      };
    },
    findWait: () => findGraceWait(doors, Date.now),
    pausesWrites: true,
    run: async ({ signal, onProgress }) => {
      const run = await runPaused({
        ...{ doors, collector, restart, maxPauseMs, clean, immutableTags, logger, signal },
        untagged: await readUntaggedRecord(untaggedPath),
        writeUntagged: (record) => writeUntaggedRecord(untaggedPath, record),
        onProgress: (phase, done) => onProgress({ phase, done, total: null }),
        now: Date.now,
      });
      const { tags, manifests, blobs } = run;
      memory.taken = { tags, manifests, layers: 0, blobs, bytes: 0 };
      return describePausedRun(run);
    },
    undo: noQuarantine,
    purge: noQuarantine,
    purgeExpired: () => Promise.resolve(),
    removeTag: async ({ repository, tag }) => {
      const { outcome, why } = await doors.removeTag({ repository, tag, digest: null });
      if (outcome === 'absent') throw new OperatorError(`There is no tag ${repository}:${tag}.`);
      if (outcome !== 'removed') throw new OperatorError(`${repository}:${tag} stays: ${why}.`);
      logger.info({ what: 'tag', repository, tag }, 'taken');
      return `Removed ${repository}:${tag}.\n`;
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
    ended: async ({ name, until, error, isPutOff }) => {
      if (name !== 'run') return;
      if (!isPutOff) {
        const { tags, manifests, blobs, bytes } = memory.taken;
        const taken =
          error === null ? { tags, manifests, blobs, bytes } : { tags: 0, manifests: 0, blobs: 0, bytes: 0 };
        await noteLastRun(folder, {
          ...{ endedAt: until, why: error, result: error === null ? 'done' : 'failed', ...taken },
        });
        if (error !== null) memory.failures += 1;
      }
      const { running, lastRun, quarantinedBytes, freeBytes, failures } = await readStatus();
      doors.publishStatus({ running, lastRun, quarantinedBytes, freeBytes, failures });
    },
  };
}
