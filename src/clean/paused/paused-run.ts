import { checkGrace } from '../channel/grace-wait.ts';
import { formatMinute, minuteMs } from '../channel/minute.ts';
import { untaggedKey, type UntaggedRecord } from '../plan/untagged-record.ts';
import { collectPaused, type CollectOptions, type CollectResult } from './collect-paused.ts';
import { planPaused, type PausedPlanOptions } from './plan-paused.ts';
import { retireRepository, type RetireOptions } from './retire-paused.ts';

export type PausedRunOptions = Pick<CollectOptions, 'doors' | 'collector' | 'restart' | 'maxPauseMs'> & {
  readonly doors: PausedPlanOptions['doors'] & RetireOptions['doors'] & CollectOptions['doors'];
  readonly clean: PausedPlanOptions['clean'];
  readonly immutableTags: PausedPlanOptions['immutableTags'];
  readonly untagged: UntaggedRecord;
  readonly writeUntagged: (record: UntaggedRecord) => Promise<void>;
  readonly logger: CollectOptions['logger'];
  readonly onProgress: (phase: string, done: number) => void;
  readonly signal: AbortSignal;
  readonly now: () => number;
};

export type PausedRun = {
  readonly tags: number;
  readonly manifests: number;
  readonly blobs: number;
  /** Null: writes were not paused. */
  readonly pausedMs: number | null;
  /** What was left for the next run, in sentences. */
  readonly left: readonly string[];
};

/**
 * A run before a storage without files on this machine: retires tags and manifests through the registry, then has its own
 * collector free their data.
 *
 * @throws OperatorError, DoorsError
 */
export async function runPaused(options: PausedRunOptions): Promise<PausedRun> {
  const { doors, signal, now } = options;
  const facts = await checkGrace(doors, now);
  const retired = await retireAll(options, facts.graceMs);
  signal.throwIfAborted();
  const collected = await collectPaused(options);
  return {
    ...retired,
    blobs: collected.kind === 'collected' ? collected.blobs : 0,
    pausedMs: collected.kind === 'collected' ? collected.pausedMs : null,
    left: [...retired.left, ...sayPostponed(collected)],
  };
}

async function retireAll(options: PausedRunOptions, graceMs: number) {
  const { now, onProgress } = options;
  const startedMs = now();
  const plan = await planPaused({
    ...options,
    nowMs: startedMs,
    onProgress: (repositories) => onProgress('repositories', repositories),
  });
  const totals = { tags: 0, manifests: 0 };
  const left: string[] = [];
  const seen = new Map<string, number>();
  for await (const repository of plan.repositories) {
    for (const { digest, sinceMs } of repository.untagged)
      seen.set(untaggedKey(repository.name, digest), sinceMs);
    const retired = await retireRepository(repository, { ...options, graceMs });
    totals.tags += retired.tags;
    totals.manifests += retired.manifests;
    left.push(...retired.left);
  }
  // Without a record of usage nothing was looked at.
  if (plan.recordSinceMs !== null) await options.writeUntagged(seen);
  return { ...totals, left };
}

function sayPostponed(result: CollectResult): string[] {
  if (result.kind !== 'postponed') return [];
  return [
    `Their data stays for now: ${result.why}. It can go from ${formatMinute(Math.ceil(result.untilMs / minuteMs) * minuteMs)} on`,
  ];
}
