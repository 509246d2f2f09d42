import { join } from 'node:path';
import * as z from 'zod';
import { runFolder, type CleanFolder } from './clean-folder.ts';
import { exists, replaceFile } from './disk.ts';
import type { Item } from './item.ts';
import { journalPath, readJsonFile, readRecords } from './journal.ts';

const schema = z.record(z.string(), z.number());

/** Runs that were undone, and until when what they had taken stays, in milliseconds since the epoch. */
export async function readProtectedRuns(folder: CleanFolder): Promise<Readonly<Record<string, number>>> {
  return (await readJsonFile(pathOf(folder), schema)) ?? {};
}

/** Resolves when it is on disk: from then on no run takes it again. */
export async function protectRun(folder: CleanFolder, run: string, untilMs: number): Promise<void> {
  const runs = await readProtectedRuns(folder);
  const kept = { ...runs, [run]: Math.max(untilMs, runs[run] ?? 0) };
  await replaceFile(folder.disk, pathOf(folder), `${JSON.stringify(kept)}\n`);
}

/** Until when what was restored stays, in milliseconds since the epoch; null: it was not, or its time is over. */
export type Protection = {
  tag(repository: string, tag: string): number | null;
  /** A manifest or layer in a repository. */
  link(repository: string, digest: string): number | null;
  data(digest: string): number | null;
};

export async function readProtection(folder: CleanFolder, nowMs: number): Promise<Protection> {
  const names = new Map<string, number>();
  for (const [run, untilMs] of Object.entries(await readProtectedRuns(folder))) {
    const path = journalPath(runFolder(folder, run));
    if (untilMs <= nowMs || !(await exists(path))) continue;
    for (const line of readRecords(path)) {
      if (line.kind !== 'intent') continue;
      const name = nameOf(line.item);
      names.set(name, Math.max(untilMs, names.get(name) ?? 0));
    }
  }
  return {
    tag: (repository, tag) => names.get(`${repository}:${tag}`) ?? null,
    link: (repository, digest) => names.get(`${repository}@${digest}`) ?? null,
    data: (digest) => names.get(digest) ?? null,
  };
}

function nameOf(item: Item): string {
  switch (item.what) {
    case 'tag':
      return `${item.repository}:${item.tag}`;
    case 'data':
      return item.digest;
    case 'manifest':
    case 'layer':
      return `${item.repository}@${item.digest}`;
  }
}

function pathOf(folder: CleanFolder): string {
  return join(folder.path, 'restored.json');
}
