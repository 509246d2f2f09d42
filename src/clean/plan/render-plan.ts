import { printable } from '../../telemetry/log/printable.ts';
import { wrapLine } from '../../telemetry/log/wrap.ts';
import { describeDuration } from '../rules/rule-text.ts';
import type { Plan, PlannedManifest, PlannedTag, RepositoryPlan } from './plan.ts';
import { sayMinute } from './repository-decision.ts';

export type RenderOptions = {
  /** The width of the terminal; at least 80 are used. */
  readonly columns: number;
  /** Whether each tag that stays is listed. */
  readonly all: boolean;
  /** From when on a run takes anything. Null: now. */
  readonly takesFromMs: number | null;
};

const maxListedFaults = 20;

/** Formats a plan as text, piece by piece, with names made printable. Ends with a newline. */
export function* renderPlan(plan: Plan, { columns, all, takesFromMs }: RenderOptions): Generator<string> {
  const width = Math.max(80, Math.min(columns, 120));
  yield `${sayHead(plan).join('\n')}\n`;
  for (const repository of plan.repositories)
    yield `\n${sayRepository(repository, plan, { width, all }).join('\n')}\n`;
  const ends = [
    sayStays(plan, width),
    sayGoes(plan, width),
    sayProblems(plan, width),
    sayNext(plan, takesFromMs, width),
  ];
  for (const lines of ends) if (lines.length > 0) yield `\n${lines.join('\n')}\n`;
}

function sayHead({ asOfMs, recordSinceMs }: Plan): string[] {
  const since = recordSinceMs === null ? 'are not recorded' : `are recorded since ${sayTime(recordSinceMs)}`;
  return [`Plan as of ${sayTime(asOfMs)}; nothing was changed.`, `Pulls ${since}.`];
}

type Row = { readonly name: string; readonly cells: readonly string[] };
/** The last: bytes that nothing else holds. */
const heads = ['pushed', 'last pull', 'own bytes'];

function sayRepository(
  { name, tags, manifests, links, stays }: RepositoryPlan,
  plan: Plan,
  { width, all }: { width: number; all: boolean },
): string[] {
  const going = tags.filter(({ goes }) => goes);
  const parts = [
    ...countOf(going.length, 'tag'),
    ...countOf(manifests.length, 'manifest'),
    ...countOf(links, 'link to a blob', 'links to blobs'),
  ];
  const what =
    parts.length === 0
      ? 'nothing goes'
      : `${listOf(parts)} ${isOne(going.length + manifests.length + links) ? 'goes' : 'go'}`;
  const kept = `${count(stays.tags, 'tag')} ${isOne(stays.tags) ? 'stays' : 'stay'}`;
  const untagged = manifests.filter(({ isOfTag }) => !isOfTag);
  const ageOf = (ms: number | null) => sayAge(ms, plan.asOfMs);
  const groups = [
    ...groupByWhy(going).map(([why, group]) =>
      sayGroup(
        why,
        group.map((tag) => rowOf(tag, ageOf)),
        width,
      ),
    ),
    untagged.length === 0
      ? []
      : sayGroup(
          sayUntagged(plan),
          untagged.map((each) => manifestRow(each, ageOf)),
          width,
        ),
    ...(all
      ? groupByWhy(tags.filter(({ goes }) => !goes)).map(([why, group]) =>
          sayGroup(
            `stays: ${why}`,
            group.map((tag) => rowOf(tag, ageOf)),
            width,
          ),
        )
      : []),
  ];
  return [...wrapLine(`${printable(name)}: ${what}; ${kept}`, width), ...groups.flat()];
}

function sayUntagged({ untaggedMs }: Plan): string {
  return `no tag, index or referrer leads to it: untagged ${untaggedMs === null ? 'never' : describeDuration(untaggedMs)}`;
}

function groupByWhy(tags: readonly PlannedTag[]): [string, PlannedTag[]][] {
  const groups = new Map<string, PlannedTag[]>();
  for (const tag of tags) {
    const group = groups.get(tag.why);
    if (group === undefined) groups.set(tag.why, [tag]);
    else group.push(tag);
  }
  return [...groups];
}

function rowOf({ tag, pushedMs, pulledMs, bytes }: PlannedTag, ageOf: (ms: number | null) => string): Row {
  return { name: tag, cells: [ageOf(pushedMs), ageOf(pulledMs), formatBytes(bytes)] };
}

/** With the beginning of its digest, enough to tell two apart. */
function manifestRow(
  { digest, pushedMs, pulledMs, bytes }: PlannedManifest,
  ageOf: (ms: number | null) => string,
): Row {
  const name = /^[^:]*:.{12}/.exec(digest)?.[0] ?? digest;
  return { name, cells: [ageOf(pushedMs), ageOf(pulledMs), formatBytes(bytes)] };
}

/** A table whose names may be as long as they are: a long one has a line of its own. */
function sayGroup(title: string, rows: readonly Row[], width: number): string[] {
  const cellWidth = 12;
  const nameWidth = width - 4 - heads.length * cellWidth;
  const lineOf = (name: string, cells: readonly string[]) =>
    `    ${name.padEnd(nameWidth)}${cells.map((cell) => cell.padStart(cellWidth)).join('')}`;
  return [
    ...wrapLine(`  ${printable(title)}`, width),
    lineOf('', heads),
    ...rows.flatMap(({ name, cells }) => {
      const shown = printable(name);
      return shown.length <= nameWidth ? [lineOf(shown, cells)] : [`    ${shown}`, lineOf('', cells)];
    }),
  ];
}

function sayStays(plan: Plan, width: number): string[] {
  const { totals, rules, unruled } = plan;
  const { repositories, tags, manifests, bytes } = totals;
  const { waiting } = manifests;
  return [
    ...wrapLine(
      `Stays: ${count(tags.stays, 'tag')} and ${count(manifests.stays, 'manifest')} in ${count(repositories, 'repository', 'repositories')}, ${formatBytes(bytes.stays)}.`,
      width,
    ),
    ...rules.flatMap(({ rule, words, kept, retired, waitsUntilMs }) => {
      const young =
        waitsUntilMs === null
          ? ''
          : `; retires nothing before ${sayTime(waitsUntilMs)}, since the record of pulls is younger than pulledWithin`;
      return wrapLine(`  rule ${rule} (${words}): keeps ${kept}, retires ${retired}${young}`, width);
    }),
    ...(unruled.kept > 0 ? [`  no rule decides: ${unruled.kept}`] : []),
    ...(waiting > 0
      ? wrapLine(
          `  ${count(waiting, 'manifest')} ${isOne(waiting) ? 'waits' : 'wait'} for the end of clean.untagged or clean.grace: no tag that stays leads there`,
          width,
        )
      : []),
    ...sayExempt(plan, width),
  ];
}

function sayExempt({ exempt: { restored, askedFor, leftAlone } }: Plan, width: number): string[] {
  const ofRestored = [...countOf(restored.tags, 'tag'), ...countOf(restored.manifests, 'manifest')];
  const ofAskedFor = [
    ...countOf(askedFor.tags, 'tag'),
    ...countOf(askedFor.manifests, 'manifest'),
    ...countOf(askedFor.blobs, 'blob'),
  ];
  const lines = [
    ...(ofRestored.length === 0
      ? []
      : [`  restored by undo, kept until ${sayTime(restored.untilMs ?? 0)}: ${listOf(ofRestored)}`]),
    ...(ofAskedFor.length === 0 ? [] : [`  asked for within clean.grace: ${listOf(ofAskedFor)}`]),
    ...leftAlone.map(
      ({ name, untilMs }) =>
        `  ${printable(name)}: a delete had an unknown outcome there: left alone until ${sayTime(untilMs)}`,
    ),
  ];
  return lines.flatMap((line) => wrapLine(line, width));
}

function sayGoes({ goes, totals }: Plan, width: number): string[] {
  if (!goes) return ['Goes: nothing.'];
  const { tags, manifests, links, blobs, bytes } = totals;
  const parts = [
    ...countOf(tags.goes, 'tag'),
    ...countOf(manifests.goes, 'manifest'),
    ...countOf(links.goes, 'link to a blob', 'links to blobs'),
    ...countOf(blobs.goes, 'blob'),
  ];
  return wrapLine(`Goes: ${listOf(parts)}. ${formatBytes(bytes.goes)} come free.`, width);
}

function sayProblems({ warnings, faults, moreFaults }: Plan, width: number): string[] {
  const listed = faults.slice(0, maxListedFaults);
  const more = faults.length - listed.length + moreFaults;
  return [
    ...warnings.flatMap((warning) => wrapLine(`Warning: ${printable(warning)}`, width)),
    ...(listed.length === 0 ? [] : ['Not as a registry leaves it; what it may name stays:']),
    ...listed.flatMap(({ path, why }) => wrapLine(`  ${printable(path)}: ${printable(why)}`, width)),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

function sayNext({ goes, rules }: Plan, takesFromMs: number | null, width: number): string[] {
  if (!goes)
    return [
      rules.length === 0
        ? 'Next: write clean.rules. Without rules every tag stays.'
        : 'Next: nothing is to be done.',
    ];
  if (takesFromMs === null)
    return ['Next: tidegate clean run takes this, and tidegate clean undo brings it back.'];
  return wrapLine(
    `Next: tidegate clean run takes this after ${sayTime(takesFromMs)}, once clean.grace has passed since the start of Tidegate. tidegate clean undo brings it back.`,
    width,
  );
}

/** A file's time can be later than the latest of a Date. */
const sayTime = (ms: number) => sayMinute(Math.min(ms, latestMs));

const latestMs = 8.64e15;
const hourMs = 3_600_000;

function sayAge(ms: number | null, nowMs: number): string {
  if (ms === null) return 'none';
  const ageMs = Math.max(0, nowMs - ms);
  if (ageMs >= 48 * hourMs) return `${Math.floor(ageMs / (24 * hourMs))}d ago`;
  return ageMs >= hourMs ? `${Math.floor(ageMs / hourMs)}h ago` : `${Math.floor(ageMs / 60_000)}m ago`;
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = '';
  for (unit of units) {
    value /= 1024;
    if (value < 1023.95) break;
  }
  return `${value.toFixed(1)} ${unit}`;
}

const isOne = (number: number) => number === 1;

function count(number: number, one: string, several = `${one}s`): string {
  return `${number} ${isOne(number) ? one : several}`;
}

function countOf(number: number, one: string, several?: string): string[] {
  return number === 0 ? [] : [count(number, one, several)];
}

function listOf(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}
