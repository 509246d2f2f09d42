import { printable } from '../../telemetry/log/printable.ts';
import type { CleanStatusNumbers } from '../channel/messages.ts';
import { formatMinute } from '../channel/minute.ts';
import type { RunRecord } from '../quarantine/run-record.ts';
import type { Job } from './jobs.ts';
import type { DueRun } from './schedule.ts';

/** How the cleaner fares. Times in milliseconds since the epoch. */
export type CleanerStatus = CleanStatusNumbers & {
  readonly version: string;
  readonly startedAt: number;
  /** What it looks after: a folder, or the registry's address. */
  readonly registry: string;
  readonly schedule: string | null;
  readonly nextRun: number | null;
  /** A run that is due by the schedule, and waits. */
  readonly dueRun: DueRun | null;
  readonly job: Job | null;
  readonly doors: readonly { readonly host: string; readonly pid: number; readonly version: string }[];
  /** Why no run can begin now; null: one can. */
  readonly doorsFault: string | null;
  /** From when on a run takes anything: clean.grace after the start of Tidegate. Null: now, or not known. */
  readonly takesFrom: number | null;
  /** The newest first. */
  readonly runs: readonly RunRecord[];
};

/** How many runs the text lists. */
const maxListed = 10;

export function formatStatus(status: CleanerStatus): string {
  const { job, lastRun, doors, doorsFault, takesFrom, runs, freeBytes } = status;
  const quarantined = runs.filter(({ bytes }) => bytes > 0).length;
  const lines = [
    `Looks after ${status.registry}, since ${formatMinute(status.startedAt)} (Tidegate ${status.version}).`,
    job === null
      ? 'Nothing is going on.'
      : `Going on since ${formatMinute(job.since)}: ${job.name}${job.by === 'schedule' ? ' by schedule' : ''}${describeProgress(job)}.`,
    describeNext(status),
    lastRun === null
      ? 'Last run: none yet.'
      : `Last run: ${lastRun.result}, ${formatMinute(lastRun.endedAt)}: ${lastRun.why ?? describeTaken(lastRun)}.`.replace(
          /\.\.$/,
          '.',
        ),
    `In quarantine: ${formatBytes(status.quarantinedBytes)} of ${quarantined} ${quarantined === 1 ? 'run' : 'runs'}.${
      freeBytes === null ? '' : ` Free on the disk: ${formatBytes(freeBytes)}.`
    }`,
    doors.length === 0
      ? 'Front doors: none.'
      : `Front doors: ${doors.map(({ host, pid }) => `process ${pid} on ${host}`).join(', ')}.`,
    ...(doorsFault === null ? [] : [`No run can begin: ${doorsFault}`]),
    ...(takesFrom === null
      ? []
      : [`Takes nothing before ${formatMinute(takesFrom)}: clean.grace after Tidegate's start.`]),
    ...(runs.length === 0 ? [] : ['', ...runs.slice(0, maxListed).map(describeRun)]),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

/** The same for programs, with times in ISO 8601. */
export function statusJson(status: CleanerStatus): string {
  const { job, lastRun, runs, dueRun } = status;
  const value = {
    ...status,
    startedAt: isoTime(status.startedAt),
    nextRun: isoTime(status.nextRun),
    dueRun: dueRun && { ...dueRun, dueAt: isoTime(dueRun.dueAt), until: isoTime(dueRun.until) },
    takesFrom: isoTime(status.takesFrom),
    job: job === null ? null : { ...job, since: isoTime(job.since) },
    lastRun: lastRun === null ? null : { ...lastRun, endedAt: isoTime(lastRun.endedAt) },
    runs: runs.map((run) => ({
      ...run,
      beganAt: isoTime(run.beganAt),
      endedAt: isoTime(run.endedAt),
      restoredUntil: isoTime(run.restoredUntil),
    })),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

function describeNext({ schedule, nextRun, dueRun }: CleanerStatus): string {
  if (schedule === null) return 'Next run: by command only (clean.schedule is null).';
  if (dueRun === null)
    return `Next run: ${nextRun === null ? 'never' : formatMinute(nextRun)} (${schedule}).`;
  const { dueAt, until, why } = dueRun;
  const when = until === null ? 'waits' : `put off to ${formatMinute(until)}`;
  return `Next run: that of ${formatMinute(dueAt)} (${schedule}), ${when}. ${why}`;
}

function describeRun({ run, state, result, why, taken, bytes, restoredUntil }: RunRecord): string {
  const ended = result === null || result === 'done' ? '' : `, ${result}${why === null ? '' : ` (${why})`}`;
  const held = bytes > 0 ? `, ${formatBytes(bytes)} in quarantine` : '';
  const safe = restoredUntil === null ? '' : `, what was restored stays until ${formatMinute(restoredUntil)}`;
  return `${run}  ${state}${ended}: ${describeTaken(taken)}${held}${safe}`;
}

function describeTaken(taken: { tags: number; manifests: number; blobs: number; bytes: number }): string {
  const { tags, manifests, blobs, bytes } = taken;
  const parts = [
    ...(tags > 0 ? [count(tags, 'tag')] : []),
    ...(manifests > 0 ? [count(manifests, 'manifest')] : []),
    ...(blobs > 0 ? [count(blobs, 'blob')] : []),
    ...(bytes > 0 ? [formatBytes(bytes)] : []),
  ];
  return parts.length === 0 ? 'took no tag, manifest or blob' : `took ${parts.join(', ')}`;
}

function describeProgress({ progress }: Job): string {
  if (progress === null) return '';
  const { phase, done, total } = progress;
  return `, ${phase}: ${done}${total === null ? '' : ` of ${total}`}`;
}

export function count(number: number, one: string, several = `${one}s`): string {
  return `${number.toLocaleString('en-US')} ${number === 1 ? one : several}`;
}

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

export function formatBytes(bytes: number): string {
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return step === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** step).toFixed(1)} ${units[step] ?? ''}`;
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
