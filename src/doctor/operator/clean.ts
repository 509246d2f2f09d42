import { statfs } from 'node:fs/promises';
import * as z from 'zod';
import { askCleaner } from '../../clean/server/clean-client.ts';
import type { CleanCommand } from '../../clean/server/messages.ts';
import { isCleaned } from '../../config/schema/is-cleaned.ts';
import type { Config } from '../../config/schema/schema.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { Check } from '../check.ts';
import { ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import { findCollectorJobs, judgeCollectorJobs } from './collector-jobs.ts';
import { isNearlyFull } from './storage-space.ts';

type CleanConfig = Pick<Config, 'clean' | 'upstream'>;

const statusLimitMs = 5000;
/** A plan reads all of the registry's links; a large registry's takes longer. */
const planMs = 12_000;

/** The checks of the clean-up. */
export function createCleanChecks(config: CleanConfig): Check[] {
  return [
    {
      ids: ['clean.cleaner', 'clean.runs'],
      limitMs: statusLimitMs,
      fix: 'systemctl restart tidegate-clean',
      run: () => checkCleaner(config),
    },
    {
      ids: ['clean.space'],
      limitMs: planMs + statusLimitMs,
      fix: 'tidegate clean plan',
      run: async () => [await checkSpace(config)],
    },
    {
      ids: ['clean.collectors'],
      limitMs: statusLimitMs,
      fix: 'grep -r garbage-collect /etc /var/spool/cron',
      run: async () => [judgeCollectorJobs(await findCollectorJobs())],
    },
  ];
}

const statusSchema = z.object({
  doorsFault: z.string().nullable(),
  lastRun: z
    .object({
      result: z.enum(['done', 'refused', 'failed']),
      why: z.string().nullable(),
      endedAt: z.string(),
    })
    .nullable(),
});
export type CleanerReport = z.output<typeof statusSchema>;

async function checkCleaner(config: CleanConfig): Promise<Finding[]> {
  if (!isCleaned(config))
    return [
      skipped('clean.cleaner', 'Nothing is cleaned up: neither upstream.storage nor clean.collector is set.'),
    ];
  try {
    const text = await ask(config, { command: 'status', json: true });
    return judgeCleaner(config.clean, text === null ? null : statusSchema.parse(JSON.parse(text)));
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return [skipped('clean.cleaner', error.message, 'tidegate clean status')];
  }
}

/** Judges the cleaner by its status; null: none is running. */
export function judgeCleaner(
  { schedule, socket }: Pick<Config['clean'], 'schedule' | 'socket'>,
  report: CleanerReport | null,
): Finding[] {
  const check = 'clean.cleaner';
  const start = "systemctl enable --now tidegate-clean (tidegate clean serve, as the registry's user)";
  if (report === null)
    return [
      schedule === null
        ? ok(check, `No cleaner listens on ${socket}, and clean.schedule is null: nothing is removed.`, start)
        : warning(
            check,
            `No cleaner listens on ${socket}, so what clean.schedule says does not happen.`,
            start,
          ),
    ];
  const { doorsFault, lastRun } = report;
  const state =
    doorsFault === null
      ? ok(check, `The cleaner listens on ${socket}.`)
      : warning(check, `No run can begin: ${quoteForeign(doorsFault, 300)}`, 'tidegate clean status');
  if (lastRun === null) return [state, ok('clean.runs', 'There was no run yet.')];
  const { result, why, endedAt } = lastRun;
  return [
    state,
    result === 'done'
      ? ok('clean.runs', `The last run was done at ${endedAt}.`)
      : warning(
          'clean.runs',
          `The last run, at ${endedAt}, was ${result === 'failed' ? 'broken off' : 'refused'}: ${quoteForeign(why ?? 'it does not say why', 300)}`,
          'tidegate clean status',
        ),
  ];
}

const planSchema = z.object({ totals: z.object({ bytes: z.object({ goes: z.number() }) }) });

/** What a run would free, where that matters. */
async function checkSpace(config: CleanConfig): Promise<Finding> {
  const check = 'clean.space';
  const { storage } = config.upstream;
  if (storage === null)
    return skipped(check, 'The space of a storage that is not on this machine is not known.');
  const { bavail, blocks, bsize } = await statfs(storage);
  if (!isNearlyFull({ freeBytes: bavail * bsize, bytes: blocks * bsize }))
    return ok(check, 'The disk of the images is not nearly full.');
  try {
    const text = await ask(config, { command: 'plan', json: true, all: false, columns: 80 });
    if (text !== null) return judgePlan(planSchema.parse(JSON.parse(text)).totals.bytes.goes);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
  }
  return warning(
    check,
    'The disk of the images is nearly full, and no cleaner says in time what a run would free.',
    'tidegate clean plan',
  );
}

/** Judges a plan on a disk that is nearly full. */
export function judgePlan(bytes: number): Finding {
  const check = 'clean.space';
  if (bytes === 0)
    return warning(
      check,
      'The disk of the images is nearly full, and a run would free nothing.',
      'clean.rules that let old tags go (docs/clean-up.md), or a larger disk',
    );
  const gibibytes = (bytes / 1024 ** 3).toFixed(1);
  return warning(
    check,
    `The disk of the images is nearly full: a run would take ${gibibytes} GiB, which come free after clean.quarantine.`,
    'tidegate clean run, then tidegate clean purge',
  );
}

/** Null: no cleaner is running. */
async function ask({ clean }: CleanConfig, command: CleanCommand): Promise<string | null> {
  let text = '';
  const end = await askCleaner(clean.socket, command, {
    onText: (piece) => (text += piece),
    signal: AbortSignal.timeout(command.command === 'plan' ? planMs : statusLimitMs - 1000),
  });
  return end === null ? null : text;
}
