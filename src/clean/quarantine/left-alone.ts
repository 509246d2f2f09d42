import { join } from 'node:path';
import * as z from 'zod';
import type { CleanFolder } from './clean-folder.ts';
import { replaceFile } from './disk.ts';
import { readJsonFile } from './journal.ts';

const schema = z.record(z.string(), z.number());

/** Repositories where a delete had an unknown outcome: nothing is taken there until then, in milliseconds since the epoch. */
export async function readLeftAlone(folder: CleanFolder): Promise<ReadonlyMap<string, number>> {
  return new Map(Object.entries((await readJsonFile(pathOf(folder), schema)) ?? {}));
}

export async function leaveAlone(
  folder: CleanFolder,
  repositories: readonly string[],
  { untilMs, nowMs }: { untilMs: number; nowMs: number },
): Promise<void> {
  if (repositories.length === 0) return;
  const kept = [...(await readLeftAlone(folder))].filter(([, until]) => until > nowMs);
  const added = repositories.map((repository): [string, number] => [repository, untilMs]);
  const text = JSON.stringify(Object.fromEntries([...kept, ...added]));
  await replaceFile(folder.disk, pathOf(folder), `${text}\n`);
}

function pathOf(folder: CleanFolder): string {
  return join(folder.path, 'left-alone.json');
}
