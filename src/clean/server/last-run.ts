import { join } from 'node:path';
import * as z from 'zod';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import { replaceFile } from '../quarantine/disk.ts';
import { readJsonFile } from '../quarantine/journal.ts';

const count = z.number();
const lastRun = z.object({
  endedAt: z.number(),
  result: z.enum(['done', 'refused', 'failed']),
  why: z.string().nullable(),
  tags: count,
  manifests: count,
  blobs: count,
  bytes: count,
});

/** How the last run ended, also one that took nothing and left no journal. */
export type LastRun = z.output<typeof lastRun>;

/** Null: none has ended yet, or what was written is lost. */
export async function readLastRun(folder: CleanFolder): Promise<LastRun | null> {
  return readJsonFile(pathOf(folder), lastRun).catch(() => null);
}

export async function noteLastRun(folder: CleanFolder, run: LastRun): Promise<void> {
  await replaceFile(folder.disk, pathOf(folder), `${JSON.stringify(run)}\n`);
}

function pathOf(folder: CleanFolder): string {
  return join(folder.path, 'last-run.json');
}
