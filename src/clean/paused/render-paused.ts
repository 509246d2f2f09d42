import { printable } from '../../telemetry/log/printable.ts';
import type { PausedDecision, PausedTag } from './decide-paused.ts';
import type { PausedRun } from './paused-run.ts';

/** What a plan before a storage without files says. Times in milliseconds since the epoch. */
export type PausedReport = {
  readonly asOfMs: number;
  /** Null: nothing is recorded, and everything is kept. */
  readonly recordSinceMs: number | null;
  readonly repositories: readonly PausedDecision[];
  /** Blobs that the collector would take now, before anything is retired. */
  readonly blobs: number;
};

export function goesSomething({ repositories, blobs }: PausedReport): boolean {
  return (
    blobs > 0 ||
    repositories.some(({ tags, manifests }) => manifests.length > 0 || tags.some(({ goes }) => goes))
  );
}

/** @param all whether tags that stay are listed, too */
export function renderPausedPlan(report: PausedReport, all: boolean): string {
  const { asOfMs, recordSinceMs, repositories, blobs } = report;
  const lines = [
    `Plan as of ${timeOf(asOfMs)}; nothing was changed.`,
    recordSinceMs === null
      ? 'Pushes and pulls are not recorded: no tag goes (state.usage).'
      : `Pushes and pulls are recorded since ${timeOf(recordSinceMs)}; what is older counts as from then.`,
    ...repositories.flatMap((repository) => sayRepository(repository, asOfMs, all)),
    '',
    `The collector would take ${count(blobs, 'blob')} now; data of what goes above comes to that.`,
    goesSomething(report)
      ? 'tidegate clean run does it. Writes wait while the collector runs.'
      : 'There is nothing to do.',
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

function sayRepository({ name, tags, manifests }: PausedDecision, asOfMs: number, all: boolean): string[] {
  const going = tags.filter(({ goes }) => goes);
  if (going.length + manifests.length === 0 && !all) return [];
  const untagged = manifests.filter(({ isOfTag }) => !isOfTag);
  return [
    '',
    `${name}: ${count(going.length, 'tag')} and ${count(manifests.length, 'manifest')} go, ${count(tags.length - going.length, 'tag')} stay`,
    ...going.map((tag) => `  ${tag.tag}  ${sayTag(tag, asOfMs)}`),
    ...untagged.map(({ digest }) => `  ${digest}  no tag leads to it`),
    ...(all
      ? tags.filter(({ goes }) => !goes).map((tag) => `  stays: ${tag.tag}  ${sayTag(tag, asOfMs)}`)
      : []),
  ];
}

function sayTag({ why, pushedMs, pulledMs }: PausedTag, asOfMs: number): string {
  const age = (ms: number | null) =>
    ms === null ? 'not recorded' : `${Math.floor((asOfMs - ms) / 86_400_000)} d ago`;
  return `${why}; pushed ${age(pushedMs)}, last pull ${age(pulledMs)}`;
}

/** The same for programs, with times in ISO 8601. */
export function pausedPlanJson(report: PausedReport): string {
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const value = {
    asOf: iso(report.asOfMs),
    recordSince: iso(report.recordSinceMs),
    goes: goesSomething(report),
    blobs: report.blobs,
    repositories: report.repositories.map(({ name, tags, manifests }) => ({
      name,
      tags: tags.map(({ pushedMs, pulledMs, ...tag }) => ({
        ...tag,
        pushed: iso(pushedMs),
        lastPull: iso(pulledMs),
      })),
      manifests,
    })),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function describePausedRun({ tags, manifests, blobs, pausedMs, left }: PausedRun): string {
  const paused =
    pausedMs === null ? 'Writes were not paused.' : `Writes waited for ${(pausedMs / 1000).toFixed(1)} s.`;
  const lines = [
    `Took ${count(tags, 'tag')}, ${count(manifests, 'manifest')} and ${count(blobs, 'blob')}. ${paused}`,
    ...left.map((sentence) => `Left: ${sentence}.`),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

const timeOf = (ms: number) => `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
const count = (number: number, noun: string) =>
  `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`;
