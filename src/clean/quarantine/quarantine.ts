import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { makeFolders, runFolder, takenPath, type CleanFolder } from './clean-folder.ts';
import { isErrno, type Disk } from './disk.ts';
import { movedPath, type Item, type MovedItem } from './item.ts';
import { createJournal, journalPath, type Counts, type JournalRecord, type Outcome } from './journal.ts';

/** What one run takes. Each item is intended first, then acted upon, then its outcome is told. */
export type Quarantine = {
  readonly run: string;
  /** What was taken so far. */
  readonly counts: Counts;
  /** Creates the folders into which items will be moved. */
  prepare(items: readonly Item[]): Promise<void>;
  /** Resolves with the items' numbers when the intents are on disk. Nothing may be taken before. */
  intend(items: readonly Item[]): Promise<number[]>;
  /** Moves the folder of an item here. On disk for certain after the next intents, or {@link end}. */
  move(item: MovedItem): Promise<void>;
  /** Moves it back at once. False: there is another one in its place by now. */
  moveBack(item: MovedItem): Promise<boolean>;
  /** Tells how it ended. Written with the next intents, or by {@link end}, when all moves are on disk. */
  tell(number: number, item: Item, outcome: Outcome, why?: string): void;
  /** Ends the journal. */
  end(result: 'done' | 'stopped' | 'failed', why: string | null, atMs: number): Promise<void>;
};

/** Begins a run's quarantine. Throws the operating system's errors. */
export async function openQuarantine(
  folder: CleanFolder,
  { version, nowMs }: { version: string; nowMs: number },
): Promise<Quarantine> {
  const { disk, root } = folder;
  const run = `${new Date(nowMs).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-')}-${randomBytes(2).toString('hex')}`;
  const path = runFolder(folder, run);
  if (!(await disk.makeFolder(path))) throw new Error(`${path} is there already`);
  await disk.syncFolder(dirname(path));
  await createReserve(disk, path);
  const journal = await createJournal(disk, journalPath(path), { kind: 'begin', run, at: nowMs, version });
  const counts = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };
  const told: JournalRecord[] = [];
  const unsettled = new Set<string>();
  const prepared = new Set<string>();
  let next = 0;
  const place = (item: MovedItem) => takenPath(folder, run, movedPath(item));
  const flush = async (more: readonly JournalRecord[]) => {
    await Promise.all([...unsettled].map((path) => disk.syncFolder(path)));
    unsettled.clear();
    await journal.write([...told, ...more]);
    told.length = 0;
  };
  const prepare = async (items: readonly Item[]) => {
    for (const item of items) {
      if (item.what !== 'tag' && item.what !== 'data') continue;
      const parent = dirname(place(item));
      if (prepared.has(parent)) continue;
      await makeFolders(folder, parent.slice(root.length + 1));
      prepared.add(parent);
    }
  };
  return {
    run,
    counts,
    prepare,
    intend: async (items) => {
      const numbers = items.map(() => next++);
      await prepare(items);
      await flush(items.map((item, index) => ({ kind: 'intent', number: numbers[index] ?? 0, item })));
      return numbers;
    },
    move: async (item) => {
      const from = `${root}/${movedPath(item)}`;
      const to = place(item);
      // Never replaces anything: the folder at the other end would have to be empty.
      await disk.rename(from, to);
      unsettled.add(dirname(to)).add(dirname(from));
    },
    moveBack: async (item) => {
      try {
        await disk.rename(place(item), `${root}/${movedPath(item)}`);
        return true;
      } catch (error) {
        if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return false;
        throw error;
      }
    },
    tell: (number, item, outcome, why) => {
      told.push({ kind: 'outcome', number, outcome, ...(why === undefined ? {} : { why }) });
      if (outcome === 'taken') addTo(counts, item);
    },
    end: async (result, why, atMs) => {
      await freeReserve(disk, path);
      try {
        await flush([{ kind: 'end', at: atMs, result, why, counts: { ...counts } }]);
      } finally {
        await journal.close();
      }
    },
  };
}

/** More than the last lines of a journal take, and what is noted with them. */
const reserveBytes = 131_072;
const reservePath = (path: string) => join(path, 'reserve');

/** Takes some space on the disk, so that a run that fills it can still be ended, and then purged. */
function createReserve(disk: Disk, path: string): Promise<void> {
  // Some file systems keep no zeros.
  return disk.createUnsynced(reservePath(path), randomBytes(reserveBytes / 2).toString('hex'));
}

/** @param path the folder of a run */
export async function freeReserve(disk: Disk, path: string): Promise<void> {
  await disk.unlink(reservePath(path)).catch(() => {}); // it was freed before, or the journal says what is wrong
}

export function addTo(counts: Counts, item: Item): void {
  switch (item.what) {
    case 'tag':
      counts.tags += 1;
      return;
    case 'manifest':
      counts.manifests += 1;
      return;
    case 'layer':
      counts.layers += 1;
      return;
    case 'data':
      counts.blobs += 1;
      counts.bytes += item.bytes;
      return;
  }
}
