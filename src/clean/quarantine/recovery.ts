import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listRuns, runFolder, takenPath, type CleanFolder } from './clean-folder.ts';
import { exists, isErrno } from './disk.ts';
import { movedPath, type Item } from './item.ts';
import {
  journalPath,
  readLastRecords,
  readRecords,
  reopenJournal,
  type JournalRecord,
  type Outcome,
} from './journal.ts';
import { leaveAlone } from './left-alone.ts';
import { readStateFile } from './state-file.ts';
import { addTo, freeReserve } from './quarantine.ts';

/** How the items of a journal ended, by number. */
export type Fates = {
  /** How many were taken and not brought back since. */
  readonly taken: number;
  readonly isTaken: (number: number) => boolean;
};

export function readFates(path: string): Fates {
  const taken = new Set<number>();
  for (const line of readRecords(path)) {
    if (line.kind === 'outcome' && line.outcome === 'taken') taken.add(line.number);
    if (line.kind === 'restored' && line.outcome !== 'impossible') taken.delete(line.number);
  }
  return { taken: taken.size, isTaken: (number) => taken.has(number) };
}

/** In milliseconds; `graceMs`: how long repositories are left alone where a delete may have been under way. */
export type RecoveryTimes = { readonly nowMs: number; readonly graceMs: number };

/**
 * Ends the journal of a run that did not: looks on disk for what became of each intent without an outcome. Does nothing if
 * the run ended by itself, and everything is known.
 */
export async function recoverRun(
  folder: CleanFolder,
  run: string,
  { nowMs, graceMs }: RecoveryTimes,
): Promise<void> {
  const path = journalPath(runFolder(folder, run));
  if (!(await exists(path))) {
    // It was killed before the first line: nothing was taken.
    await folder.disk.removeTree(runFolder(folder, run));
    return;
  }
  const open = new Map<number, Item>();
  const counts = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };
  let end: Extract<JournalRecord, { kind: 'end' }> | null = null;
  let hasBegun = false;
  for (const line of readRecords(path)) {
    hasBegun = true;
    if (line.kind === 'intent') open.set(line.number, line.item);
    if (line.kind === 'outcome' && line.outcome !== 'unknown') {
      const item = open.get(line.number);
      if (item !== undefined && line.outcome === 'taken') addTo(counts, item);
      open.delete(line.number);
    }
    if (line.kind === 'end') end = line;
  }
  if (!hasBegun) {
    await folder.disk.removeTree(runFolder(folder, run));
    return;
  }
  if (end !== null && open.size === 0) return;
  const lines: JournalRecord[] = [];
  const unsettled = new Set<string>();
  for (const [number, item] of open) {
    const outcome = await findOutcome(folder, run, item);
    lines.push({ kind: 'outcome', number, outcome, why: 'seen on disk later' });
    if (outcome === 'taken') addTo(counts, item);
    if (item.what === 'manifest' || item.what === 'layer') unsettled.add(item.repository);
  }
  const cutOff = {
    kind: 'end',
    at: nowMs,
    result: 'interrupted',
    why: 'the cleaner was ended in the middle of it',
  } as const;
  lines.push({ ...(end ?? cutOff), counts });
  await freeReserve(folder.disk, runFolder(folder, run));
  // First: once the journal has ended nobody asks again.
  await leaveAlone(folder, [...unsettled], { untilMs: nowMs + graceMs, nowMs });
  const journal = await reopenJournal(folder.disk, path);
  try {
    await journal.write(lines);
  } finally {
    await journal.close();
  }
}

/** Looks on disk whether an item was taken. */
export async function findOutcome(folder: CleanFolder, run: string, item: Item): Promise<Outcome> {
  if (item.what === 'tag' || item.what === 'data')
    return (await exists(takenPath(folder, run, movedPath(item)))) ? 'taken' : 'left';
  for (const file of item.files)
    if (!(await hasContent(join(folder.root, file.path), file.content))) return 'taken';
  return 'left';
}

/** A link holds a digest. */
export const maxLinkBytes = 1024;

async function hasContent(path: string, content: string): Promise<boolean> {
  try {
    return (await readStateFile(path, maxLinkBytes)) === content;
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return false;
    throw error;
  }
}

/** Finishes what crashes have left half done. */
export async function recoverAll(folder: CleanFolder, times: RecoveryTimes): Promise<void> {
  const runs = await listRuns(folder);
  for (const name of await readdir(join(folder.path, 'purging')))
    await folder.disk.removeTree(join(folder.path, 'purging', name));
  for (const run of runs)
    if (!(await hasEnded(journalPath(runFolder(folder, run))))) await recoverRun(folder, run, times);
}

async function hasEnded(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  const last = readLastRecords(path).at(-1);
  return last?.kind === 'end' || last?.kind === 'undone';
}
