import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { maxLockKeys, type DoorLock, type MergedEvidence } from '../channel/doors.ts';
import { otherDigests } from '../plan/exemptions.ts';
import type { Plan } from '../plan/plan.ts';
import { dataPath, layerPath, registryPath, revisionPath, type Item } from '../quarantine/item.ts';
import { addTakenDigests } from '../quarantine/taken-digests.ts';
import { DigestTable } from '../scan/digest-table.ts';
import { DirectoryWatch } from '../scan/directory-watch.ts';
import { createPacedRunner } from '../scan/paced-steps.ts';
import { scanRepositories } from '../scan/scan-repositories.ts';
import { statBlob } from '../scan/stored-blobs.ts';
import { createBatchSize, type BatchSize } from './batch-size.ts';
import { askEvidence, ensureHeld, type IsOver } from './holds.ts';
import { moveHeld } from './move-held.ts';
import { createRareCheck, maxLockedPaths, type RareCheck } from './rare-check.ts';
import { changed } from './repository-targets.ts';
import { isRecent, type RunContext } from './run-context.ts';

const maxDigests = 5000;
const maxTries = 12;

/** What was linked when all links were read, and how to tell whether that is still so. */
type Links = {
  /** By the candidate's number: 1 if it is linked, or a manifest names it. */
  readonly used: Uint8Array;
  readonly watch: DirectoryWatch;
  /** All folders of names. */
  readonly names: ReadonlySet<string>;
  readonly keepsData: boolean;
};

type Candidates = {
  readonly table: DigestTable;
  readonly writes: Float64Array;
  epoch: string;
  others: number;
};

/**
 * Takes the data that no repository links any more. All links are read first; under a lock of each digest, no front door may
 * have written anything about it since, and folders that changed since are looked at again.
 */
export async function takeData(context: RunContext, plan: Plan): Promise<void> {
  const { leave, signal, onProgress } = context;
  const table = new DigestTable();
  for (const { digest } of plan.blobs) table.add(digest);
  if (table.size === 0) return;
  const candidates = await readWrites(context, table);
  const links = await readLinks(context, table);
  if (links.keepsData) {
    leave('all data', 'folders that may hold links could not be read');
    return;
  }
  const digests: string[] = [];
  for (let number = 0; number < table.size; number += 1) {
    const digest = table.digestOf(number);
    if (links.used[number] === 1) leave(digest, changed);
    else digests.push(digest);
  }
  // Neighbours share folders, which are then written to disk once.
  digests.sort();
  const size = createBatchSize(maxLockKeys - 1);
  const check = createRareCheck(() =>
    createPacedRunner({ pace: context.clean.pace }).run(links.watch.findChanged()),
  );
  for (let done = 0; done < digests.length && !signal.aborted;) {
    onProgress({ phase: 'data', done, total: digests.length });
    const batch = digests.slice(done, done + size.value);
    await takeBatch(context, { candidates, links, check, size }, batch);
    done += batch.length;
  }
}

/** Notes what was written about each, before links are read. */
async function readWrites(context: RunContext, table: DigestTable): Promise<Candidates> {
  const writes = new Float64Array(table.size);
  const candidates: Candidates = { table, writes, epoch: '', others: 0 };
  for (let at = 0; at < table.size; at += maxDigests) {
    const count = Math.min(maxDigests, table.size - at);
    const asked = Array.from({ length: count }, (_, index) => table.digestOf(at + index));
    const { epoch, digestWrites } = await askEvidence(context, { digests: [otherDigests, ...asked] });
    for (let index = 0; index < count; index += 1) writes[at + index] = digestWrites[index + 1] ?? NaN;
    if (at === 0) {
      candidates.epoch = epoch;
      candidates.others = digestWrites[0] ?? NaN;
    }
  }
  return candidates;
}

/** Tags lead to nothing that no other link leads to. */
class LinkWatch extends DirectoryWatch {
  override add(path: string): void {
    if (!path.includes('/_manifests/tags')) super.add(path);
  }
}

async function readLinks(context: RunContext, table: DigestTable): Promise<Links> {
  const { folder, clean, manifests, signal, onProgress } = context;
  const watch = new LinkWatch();
  const used = new Uint8Array(table.size);
  const names = new Set<string>();
  let keepsData = false;
  const note = (digest: string) => {
    const number = table.numberOf(digest);
    if (number !== null) used[number] = 1;
  };
  const scans = scanRepositories(folder.root, {
    ...{ watch, watchedDigests: table, manifests, pace: clean.pace, signal },
    onProgress: ({ repositories }) => onProgress({ phase: 'links', done: repositories, total: null }),
  });
  for await (const scan of scans) {
    for (let end = scan.name.indexOf('/'); end !== -1; end = scan.name.indexOf('/', end + 1))
      names.add(scan.name.slice(0, end));
    names.add(scan.name);
    if (scan.faults.some(({ keeps }) => keeps === 'storage')) keepsData = true;
    for (const { digest } of scan.tags) if (digest !== null) note(digest);
    for (const { digest, linkedAs, content } of scan.manifests) {
      note(digest);
      note(linkedAs);
      for (const named of content?.named ?? []) note(named);
    }
    for (const { digest, linkedAs } of scan.layers) {
      note(digest);
      note(linkedAs);
    }
  }
  return { used, watch, names, keepsData };
}

type Parts = {
  readonly candidates: Candidates;
  readonly links: Links;
  readonly check: RareCheck<readonly string[]>;
  readonly size: BatchSize;
};

async function takeBatch(
  context: RunContext,
  { candidates, links, check, size }: Parts,
  digests: readonly string[],
): Promise<void> {
  const { folder, quarantine, doors, holds, leave, signal } = context;
  const items = digests.flatMap((digest): Extract<Item, { what: 'data' }>[] => {
    const status = statBlob(folder.root, digest);
    if (status !== null && !isRecent(context, status.mtimeMs))
      return [{ what: 'data', digest, bytes: status.bytes }];
    leave(digest, changed);
    return [];
  });
  if (items.length === 0) return;
  const manifests = items.flatMap(({ digest }) => (mayBeManifest(folder.root, digest) ? [digest] : []));
  await addTakenDigests(folder, manifests);
  await doors.announceTaken(manifests);
  await quarantine.prepare(items);
  const isLarge = links.watch.size > maxLockedPaths;
  const numbers = await quarantine.intend(items);
  let open: readonly Numbered[] = items.map((item, index) => ({ item, number: numbers[index] ?? -1 }));
  for (let tries = 0; tries < maxTries && open.length > 0 && !signal.aborted; tries += 1) {
    const before = isLarge ? await check.look() : null;
    const asked = open;
    const keys = [...asked.map(({ item }) => item.digest), otherDigests];
    const rest = await holds.hold(keys, async (lock, isOver) => {
      const evidence = await askEvidence(context, { digests: [otherDigests, ...keys.slice(0, -1)] }, lock);
      const isTaken = ({ item }: Numbered, index: number) =>
        isFree(context, candidates, evidence, item.digest, index + 1);
      const free = asked.filter(isTaken);
      for (const each of asked) if (!free.includes(each)) stay(context, each, changed);
      const digestsOfFree = free.map(({ item }) => item);
      const found = findLink(context, links, before ?? links.watch.changed(), digestsOfFree);
      if (found !== null)
        throw new OperatorError(
          `${found} was written around the front doors: the run has ended, since nothing holds such writes. Let everybody push through Tidegate.`,
        );
      return move(context, { lock, isOver }, free);
    });
    if (rest === null) continue;
    open = rest;
    tries = -1;
    size.learn(holds.lastMs);
  }
  for (const each of open) stay(context, each, 'it was in use all the time');
}

/** Whether nobody was told of it, or wrote it, since links were read. */
function isFree(
  context: RunContext,
  { table, writes, epoch, others }: Candidates,
  evidence: MergedEvidence,
  digest: string,
  index: number,
): boolean {
  const number = table.numberOf(digest) ?? -1;
  return (
    evidence.epoch === epoch &&
    evidence.digestWrites[0] === others &&
    evidence.digestWrites[index] === writes[number] &&
    !isRecent(context, evidence.leases[index] ?? context.nowMs()) &&
    !isRecent(context, evidence.leases[0] ?? context.nowMs())
  );
}

type Numbered = { readonly item: Extract<Item, { what: 'data' }>; readonly number: number };

function stay({ quarantine, leave }: RunContext, { item, number }: Numbered, why: string): void {
  quarantine.tell(number, item, 'left');
  leave(item.digest, why);
}

/** @returns those that come too late for this lock */
async function move(
  context: RunContext,
  { lock, isOver }: { lock: DoorLock; isOver: IsOver },
  all: readonly Numbered[],
): Promise<readonly Numbered[]> {
  const { folder, quarantine, logger } = context;
  for (const [index, each] of all.entries()) {
    if (index > 0 && isOver(0)) return all.slice(index);
    const { digest, bytes } = each.item;
    await ensureHeld(context, lock);
    const status = statBlob(folder.root, digest);
    if (status?.bytes !== bytes || isRecent(context, status.mtimeMs)) {
      stay(context, each, changed);
      continue;
    }
    await moveHeld(context, lock, each);
    logger.info({ run: quarantine.run, what: 'data', digest, bytes }, 'taken');
  }
  return [];
}

/** Looks for links to these in folders that have changed. Returns the path of one. */
function findLink(
  { folder: { root } }: RunContext,
  { names }: Links,
  paths: readonly string[],
  items: readonly { readonly digest: string }[],
): string | null {
  const start = join(root, registryPath, 'repositories');
  const repositories = new Set<string>();
  for (const path of paths) {
    const name = path.slice(start.length + 1);
    const end = name.startsWith('_') ? 0 : name.indexOf('/_');
    if (end > 0) repositories.add(name.slice(0, end));
    if (end !== -1) continue;
    if (name !== '') repositories.add(name);
    for (const found of listNewNames(start, name, names)) repositories.add(found);
  }
  for (const repository of repositories)
    for (const { digest } of items)
      for (const path of [layerPath(repository, digest), revisionPath(repository, digest)])
        if (lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined) return path;
  return null;
}

/** The folders of names that have come into this one. */
function listNewNames(start: string, name: string, known: ReadonlySet<string>): string[] {
  const found: string[] = [];
  let entries;
  try {
    entries = readdirSync(join(start, name), { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  for (const entry of entries) {
    const child = name === '' ? entry.name : `${name}/${entry.name}`;
    if (entry.name.startsWith('_') || !entry.isDirectory() || known.has(child)) continue;
    found.push(child, ...listNewNames(start, child, known));
  }
  return found;
}

/** Whether the bytes begin as those of a manifest do: the registry may remember such ones as a manifest. */
function mayBeManifest(root: string, digest: string): boolean {
  const file = openSync(join(root, dataPath(digest), 'data'), 'r');
  try {
    const start = Buffer.alloc(4096);
    const length = readSync(file, start, 0, start.length, 0);
    const text = start
      .toString('latin1', 0, length)
      .replace(/^\u00ef\u00bb\u00bf/, '')
      .trimStart();
    return text === '' ? length > 0 : text.startsWith('{');
  } finally {
    closeSync(file);
  }
}
