import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { listRuns, runFolder, runForm, type CleanFolder } from './clean-folder.ts';
import { exists, replaceFile } from './disk.ts';
import { journalPath, readJsonFile, readLastRecords, readRecords, type Counts } from './journal.ts';
import { addTo } from './quarantine.ts';
import type { Item } from './item.ts';
import { readProtectedRuns } from './protected-runs.ts';

/** A run, as its journal tells it. Times in milliseconds since the epoch. */
export type RunRecord = {
  readonly run: string;
  /** Null: it was killed before it could tell. */
  readonly beganAt: number | null;
  readonly endedAt: number | null;
  /** `half-done`: it runs, or was cut off. */
  readonly state: 'half-done' | 'in quarantine' | 'half-undone' | 'undone' | 'purged';
  readonly result: 'done' | 'stopped' | 'failed' | 'interrupted' | null;
  readonly why: string | null;
  readonly taken: Counts;
  /** In quarantine now. */
  readonly bytes: number;
  /** Until when what was restored stays; null: it was not restored. */
  readonly restoredUntil: number | null;
};

const none: Counts = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };

/** Reads all runs, the newest first. */
export async function readRuns(folder: CleanFolder): Promise<RunRecord[]> {
  const names = await listRuns(folder);
  const restored = await readProtectedRuns(folder);
  const runs = await Promise.all(names.map((run) => readRun(folder, run, restored[run] ?? null)));
  return [...runs, ...(await readPurged(folder))].sort(
    (a, b) => compare(secondOf(b), secondOf(a)) || (b.beganAt ?? Infinity) - (a.beganAt ?? Infinity) || 0,
  );
}

/** A run's name begins with its second; the rest is random. */
const secondOf = ({ run }: RunRecord) => run.slice(0, 'YYYYMMDD-HHMMSS'.length);
const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));

async function readRun(folder: CleanFolder, run: string, restoredUntil: number | null): Promise<RunRecord> {
  const path = journalPath(runFolder(folder, run));
  const unknown = {
    run,
    beganAt: null,
    endedAt: null,
    state: 'half-done' as const,
    result: null,
    why: null,
    taken: none,
    bytes: 0,
    restoredUntil,
  };
  if (!(await exists(path))) return unknown;
  const [begin] = readRecords(path);
  if (begin?.kind !== 'begin') return unknown;
  const last = readLastRecords(path).at(-1);
  if (last?.kind === 'end') {
    const { at, result, why, counts } = last;
    const ended = { beganAt: begin.at, endedAt: at, result, why, taken: counts, bytes: counts.bytes };
    return { ...unknown, ...ended, state: 'in quarantine' };
  }
  return { ...unknown, beganAt: begin.at, ...readWhole(path) };
}

/** For a run whose last line does not tell all. */
function readWhole(path: string): Omit<RunRecord, 'run' | 'beganAt' | 'restoredUntil'> {
  const items = new Map<number, Item>();
  const taken = { ...none };
  const gone = new Set<number>();
  let state: RunRecord['state'] = 'half-done';
  let [endedAt, result, why]: [number | null, RunRecord['result'], string | null] = [null, null, null];
  for (const line of readRecords(path)) {
    if (line.kind === 'intent') items.set(line.number, line.item);
    const item = 'number' in line ? items.get(line.number) : undefined;
    if (line.kind === 'outcome' && line.outcome === 'taken' && item !== undefined) {
      addTo(taken, item);
      gone.add(line.number);
    }
    if (line.kind === 'restored' && line.outcome === 'restored') gone.delete(line.number);
    if (line.kind === 'end') {
      state = 'in quarantine';
      ({ at: endedAt, result, why } = line);
    }
    if (line.kind === 'undo') state = 'half-undone';
    if (line.kind === 'undone') state = 'undone';
  }
  let bytes = 0;
  for (const number of gone) {
    const item = items.get(number);
    if (item?.what === 'data') bytes += item.bytes;
  }
  return { state, endedAt, result, why, taken, bytes };
}

const count = z.number();
const purgedSchema = z.object({
  run: z.string().regex(runForm),
  beganAt: count.nullable(),
  endedAt: count.nullable(),
  result: z.enum(['done', 'stopped', 'failed', 'interrupted']).nullable(),
  why: z.string().nullable(),
  taken: z.object({ tags: count, manifests: count, layers: count, blobs: count, bytes: count }),
});
/** How many purged runs are remembered. */
const maxPurged = 50;

async function readPurged(folder: CleanFolder): Promise<RunRecord[]> {
  const runs: RunRecord[] = [];
  for (const name of await listPurged(folder)) {
    try {
      const known = await readJsonFile(join(folder.path, 'purged', name), purgedSchema);
      if (known === null) continue;
      runs.push({ ...known, state: 'purged', bytes: 0, restoredUntil: null });
    } catch {
      // It only told what once was.
    }
  }
  return runs;
}

async function listPurged(folder: CleanFolder): Promise<string[]> {
  const path = join(folder.path, 'purged');
  return (await exists(path)) ? (await readdir(path)).filter((name) => name.endsWith('.json')).sort() : [];
}

export async function rememberPurged(folder: CleanFolder, run: RunRecord): Promise<void> {
  const path = join(folder.path, 'purged');
  await folder.disk.makeFolder(path);
  const known = purgedSchema.parse(run);
  await replaceFile(folder.disk, join(path, `${run.run}.json`), `${JSON.stringify(known)}\n`);
  const names = await listPurged(folder);
  for (const name of names.slice(0, Math.max(0, names.length - maxPurged))) await rm(join(path, name));
}
