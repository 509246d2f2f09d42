import { dirname, join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { ManifestReader } from '../scan/manifest-reader.ts';
import { listRuns, makeFolders, runFolder, takenPath, type CleanFolder } from './clean-folder.ts';
import { exists, isErrno } from './disk.ts';
import {
  dataPath,
  layerPath,
  movedPath,
  revisionPath,
  type Item,
  type LinkFile,
  type LinkItem,
  type MovedItem,
} from './item.ts';
import {
  countDamage,
  journalPath,
  readRecords,
  reopenJournal,
  type Counts,
  type Journal,
  type JournalRecord,
  type Restoration,
} from './journal.ts';
import { protectRun } from './protected-runs.ts';
import { addTo } from './quarantine.ts';
import { readStateFile } from './state-file.ts';
import { maxLinkBytes, readFates, recoverRun, type Fates } from './recovery.ts';

/** What `undo` did. */
export type UndoSummary = {
  readonly run: string;
  readonly restored: Counts;
  /** What was there again already. */
  readonly there: number;
  /** What could not be restored, with the reason. Of many the first. */
  readonly impossible: readonly { readonly item: string; readonly why: string }[];
  readonly impossibleCount: number;
  /** Lines of the journal that cannot be read: what they named stays in the run's folder. */
  readonly damagedLines: number;
};

export type UndoOptions = {
  readonly folder: CleanFolder;
  readonly run: string;
  /** How long what is restored stays. */
  readonly keepMs: number;
  /** How long repositories are left alone where the run was killed in the middle of a delete. */
  readonly graceMs: number;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
  /** Does it while nothing reaches these repositories and digests. */
  readonly locked: (keys: readonly string[], work: () => Promise<void>) => Promise<void>;
  readonly onProgress: (done: number, total: number) => void;
};

const maxListed = 100;
/** How much is restored under one lock. */
const maxBatch = 100;

/**
 * Brings back what a run took: data first, then links, then tags, so that whatever a client finds is whole. Replaces nothing.
 * Can be repeated after a crash.
 */
export async function undoRun(options: UndoOptions): Promise<UndoSummary> {
  const { folder, run, nowMs, keepMs, graceMs } = options;
  const path = journalPath(runFolder(folder, run));
  if (!(await listRuns(folder)).includes(run) || !(await exists(path)))
    throw new OperatorError(
      `The run ${run} is not in quarantine: tidegate clean status lists those that can be undone.`,
    );
  await recoverRun(folder, run, { nowMs: nowMs(), graceMs });
  const fates = readFates(path);
  await protectRun(folder, run, nowMs() + keepMs);
  const journal = await reopenJournal(folder.disk, path);
  try {
    await journal.write([{ kind: 'undo', at: nowMs() }]);
    const summary = await restoreAll(options, fates, journal);
    await journal.write([
      {
        kind: 'undone',
        at: nowMs(),
        counts: summary.restored,
        restored: sum(summary.restored),
        there: summary.there,
        impossible: summary.impossibleCount,
      },
    ]);
    return summary;
  } finally {
    await journal.close();
  }
}

async function restoreAll(options: UndoOptions, fates: Fates, journal: Journal): Promise<UndoSummary> {
  const { folder, run, signal, locked, onProgress } = options;
  const restored = { tags: 0, manifests: 0, layers: 0, blobs: 0, bytes: 0 };
  const impossible: { item: string; why: string }[] = [];
  const path = journalPath(runFolder(folder, run));
  const damagedLines = countDamage(path);
  const summary = { run, restored, there: 0, impossible, impossibleCount: 0, damagedLines };
  const context: Context = { folder, run, takenLinks: await readTakenLinks(folder, run, fates) };
  let done = 0;
  for (const wave of [['data'], ['manifest', 'layer'], ['tag']] as const) {
    for (const batch of batches(path, fates, wave)) {
      signal.throwIfAborted();
      const results: { number: number; item: Item; result: Result }[] = [];
      await locked(keysOf(batch), async () => {
        const changed = new Set<string>();
        for (const { number, item } of batch)
          results.push({ number, item, result: await restore(context, item, changed) });
        for (const changedPath of changed) await folder.disk.syncFolder(changedPath);
      });
      const lines: JournalRecord[] = [];
      for (const { number, item, result } of results) {
        lines.push({ kind: 'restored', number, ...result });
        if (result.outcome === 'restored') addTo(restored, item);
        else if (result.outcome === 'there') summary.there += 1;
        else {
          summary.impossibleCount += 1;
          if (impossible.length < maxListed)
            impossible.push({ item: nameItem(item), why: result.why ?? 'unknown' });
        }
      }
      await journal.write(lines);
      done += batch.length;
      onProgress(done, fates.taken);
    }
  }
  return summary;
}

type Numbered = { readonly number: number; readonly item: Item };

/** What is to be restored, in pieces for one lock each. */
function* batches(path: string, fates: Fates, wave: readonly Item['what'][]): Generator<Numbered[]> {
  let batch: Numbered[] = [];
  for (const line of readRecords(path)) {
    if (line.kind !== 'intent' || !wave.includes(line.item.what) || !fates.isTaken(line.number)) continue;
    const [first] = batch;
    if (first !== undefined && (batch.length === maxBatch || placeOf(first.item) !== placeOf(line.item))) {
      yield batch;
      batch = [];
    }
    batch.push({ number: line.number, item: line.item });
  }
  if (batch.length > 0) yield batch;
}

function placeOf(item: Item): string {
  return item.what === 'data' ? '' : item.repository;
}

function keysOf(batch: readonly Numbered[]): string[] {
  const keys = batch.map(({ item }) => (item.what === 'data' ? item.digest : item.repository));
  return [...new Set(batch[0]?.item.what === 'data' ? [...keys, 'digest:other'] : keys)];
}

type Result = { outcome: Restoration; why?: string };

type Context = {
  readonly folder: CleanFolder;
  readonly run: string;
  /** Links that were taken when this began, and which run has them. */
  readonly takenLinks: ReadonlyMap<string, string>;
};

async function restore(context: Context, item: Item, changed: Set<string>): Promise<Result> {
  const { folder, run } = context;
  try {
    switch (item.what) {
      case 'data':
        return await moveBack(folder, run, item, 'data', changed);
      case 'tag': {
        if (!(await exists(join(folder.root, revisionPath(item.repository, item.digest)))))
          return { outcome: 'impossible', why: 'its manifest is not there' };
        const missing = await findMissing(context, item);
        if (missing !== null) return { outcome: 'impossible', why: missing };
        return await moveBack(folder, run, item, 'current/link', changed);
      }
      case 'manifest':
      case 'layer':
        return await restoreLinks(folder, run, item, changed);
    }
  } catch (error) {
    return { outcome: 'impossible', why: error instanceof Error ? error.message : String(error) };
  }
}

/** Reads which links of repositories whose tags this run took are in quarantine, in this run's or in others'. */
async function readTakenLinks(
  folder: CleanFolder,
  run: string,
  ownFates: Fates,
): Promise<ReadonlyMap<string, string>> {
  const links = new Map<string, string>();
  const repositories = new Set<string>();
  for (const line of readRecords(journalPath(runFolder(folder, run))))
    if (line.kind === 'intent' && line.item.what === 'tag') repositories.add(line.item.repository);
  const others = (await listRuns(folder)).filter((other) => other !== run);
  // Whoever took a link last has it.
  for (const each of [run, ...others]) {
    const path = journalPath(runFolder(folder, each));
    if (!(await exists(path))) continue;
    const fates = each === run ? ownFates : readFates(path);
    for (const line of readRecords(path)) {
      if (line.kind !== 'intent' || !fates.isTaken(line.number)) continue;
      const { item } = line;
      const isLink = item.what === 'manifest' || item.what === 'layer';
      if (isLink && repositories.has(item.repository)) links.set(linkKey(item), each);
    }
  }
  return links;
}

function linkKey({ repository, digest }: { readonly repository: string; readonly digest: string }): string {
  return `${repository}@${digest}`;
}

/** Looks for a part of an image that was taken and is not back. A tag without it would lead to a broken image. */
async function findMissing(
  { folder, run, takenLinks }: Context,
  { repository, digest }: { readonly repository: string; readonly digest: string },
): Promise<string | null> {
  if (takenLinks.size === 0) return null;
  const manifests = new ManifestReader(folder.root);
  const waiting = [digest];
  const seen = new Set(waiting);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const content = manifests.read(next).content;
    for (const named of content?.named ?? []) {
      if (seen.has(named)) continue;
      seen.add(named);
      if (content?.manifests.includes(named)) waiting.push(named);
      const by = takenLinks.get(linkKey({ repository, digest: named }));
      if (by === undefined) continue;
      const paths = [layerPath(repository, named), revisionPath(repository, named)];
      const found = await Promise.all(paths.map((path) => exists(join(folder.root, path))));
      if (!found.includes(true))
        return by === run
          ? `${named} in it cannot be brought back`
          : `${named} in it was taken by ${by}: undo that run first`;
    }
  }
  return null;
}

/** @param proof the file without which the folder means nothing */
async function moveBack(
  folder: CleanFolder,
  run: string,
  item: MovedItem,
  proof: string,
  changed: Set<string>,
): Promise<Result> {
  const to = join(folder.root, movedPath(item));
  const from = takenPath(folder, run, movedPath(item));
  const isTaken = await exists(from);
  if (await exists(join(to, proof))) {
    if (item.what === 'data' || !isTaken) return { outcome: 'there' };
    return { outcome: 'impossible', why: 'the tag was pushed again' };
  }
  if (!isTaken) return { outcome: 'impossible', why: 'it is neither in quarantine nor in its place' };
  await makeFolders(folder, dirname(movedPath(item)));
  try {
    await folder.disk.rename(from, to);
  } catch (error) {
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    return { outcome: 'impossible', why: `there is something else in ${to}` };
  }
  changed.add(dirname(to)).add(dirname(from));
  return { outcome: 'restored' };
}

async function restoreLinks(
  folder: CleanFolder,
  run: string,
  item: LinkItem,
  changed: Set<string>,
): Promise<Result> {
  // A link by another algorithm's digest leads to data under sha256.
  for (const { content } of item.files)
    if (!(await exists(join(folder.root, dataPath(content), 'data'))))
      return { outcome: 'impossible', why: 'its bytes are not there' };
  let outcome: Restoration = 'there';
  for (const file of item.files) {
    const allowed = new Set([
      revisionPath(item.repository, item.digest),
      layerPath(item.repository, item.digest),
    ]);
    if (!allowed.has(file.path))
      return { outcome: 'impossible', why: `${file.path} is not a place of its links` };
    const result = await restoreLink(folder, run, file, changed);
    if (result === 'other') return { outcome: 'impossible', why: `${file.path} has another content by now` };
    if (result === 'restored') outcome = 'restored';
  }
  return { outcome };
}

async function restoreLink(
  folder: CleanFolder,
  run: string,
  file: LinkFile,
  changed: Set<string>,
): Promise<'restored' | 'there' | 'other'> {
  const { disk, root } = folder;
  const path = join(root, file.path);
  if (await exists(path))
    return (await readStateFile(path, maxLinkBytes)) === file.content ? 'there' : 'other';
  const temporary = join(runFolder(folder, run), 'link.new');
  await disk.removeTree(temporary);
  await disk.create(temporary, file);
  await makeFolders(folder, dirname(file.path));
  await disk.link(temporary, path);
  await disk.unlink(temporary);
  changed.add(dirname(path));
  return 'restored';
}

function nameItem(item: Item): string {
  switch (item.what) {
    case 'tag':
      return `${item.repository}:${item.tag}`;
    case 'data':
      return `the bytes of ${item.digest}`;
    case 'manifest':
    case 'layer':
      return `${item.repository}@${item.digest}`;
  }
}

function sum({ tags, manifests, layers, blobs }: Counts): number {
  return tags + manifests + layers + blobs;
}
