import { join } from 'node:path';
import { runFolder, type CleanFolder } from './clean-folder.ts';
import { readRuns, rememberPurged, type RunRecord } from './run-record.ts';

/** What a purge deleted for good. */
export type PurgeSummary = { readonly runs: readonly string[]; readonly bytes: number };

/**
 * Finds what a purge deletes. A run that is half done or half undone stays, and so does one that was undone, as long as what
 * it restored is safe.
 *
 * @param endedBeforeMs only what ended before
 */
export async function findPurgeable(
  folder: CleanFolder,
  { endedBeforeMs, nowMs }: { endedBeforeMs: number; nowMs: number },
): Promise<RunRecord[]> {
  return (await readRuns(folder)).filter(
    ({ state, endedAt, restoredUntil }) =>
      (state === 'in quarantine' || state === 'undone') &&
      endedAt !== null &&
      endedAt <= endedBeforeMs &&
      (restoredUntil ?? 0) <= nowMs,
  );
}

/** Deletes a run's quarantine for good. Needs no free space on the disk. */
export async function purgeRuns(folder: CleanFolder, runs: readonly RunRecord[]): Promise<PurgeSummary> {
  let bytes = 0;
  for (const run of runs) {
    // One step: from here on nobody can undo a half of it.
    const going = join(folder.path, 'purging', run.run);
    await folder.disk.rename(runFolder(folder, run.run), going);
    await folder.disk.syncFolder(join(folder.path, 'runs'));
    await folder.disk.removeTree(going);
    bytes += run.bytes;
    await rememberPurged(folder, run).catch(() => {}); // only a memory
  }
  return { runs: runs.map(({ run }) => run), bytes };
}
