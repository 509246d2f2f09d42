import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { OperatorError } from '../../system/operator-error.ts';
import type { DoorLock, MergedEvidence } from '../channel/doors.ts';
import type { RepositoryPlan } from '../plan/plan.ts';
import { exists } from '../quarantine/disk.ts';
import { repositoryPath, tagPath, tagsPath, type Item } from '../quarantine/item.ts';
import { leaveAlone } from '../quarantine/left-alone.ts';
import { findOutcome } from '../quarantine/recovery.ts';
import { DirectoryWatch } from '../scan/directory-watch.ts';
import { createPacedRunner } from '../scan/paced-steps.ts';
import { scanRepository } from '../scan/repository-scan.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import { createBatchSize } from './batch-size.ts';
import { askEvidence, ensureHeld } from './holds.ts';
import { findSteps, readItem, type Step, type StepItem } from './repository-steps.ts';
import {
  changed,
  findTargets,
  isInUse,
  noteTaken,
  reviseTargets,
  type RepositoryTargets,
} from './repository-targets.ts';
import type { RunContext } from './run-context.ts';

/** A repository that is written to all the time is tried so often. */
const maxTries = 8;
/** A repository that is read so fast is read again under the lock, if it was written to meanwhile. */
const maxLockedScanMs = 25;
/** So many paths are looked at again under the lock; more are looked at right before it. */
const maxLockedPaths = 2000;
/** As long as times of files are unsure. */
const unsureMs = 2100;
/** Of more links, only those that go are watched one by one. */
const maxWatchedLinks = 5000;
/** The most digests of one question. */
const maxDigests = 5000;

/** What was read of a repository, and how to tell whether it is still so. */
type View = {
  readonly scan: RepositoryScan;
  readonly watch: DirectoryWatch;
  readonly scanMs: number;
  /** What was written when it was read. Later: what this run itself has written since. */
  evidence: MergedEvidence;
  /** Watched paths that this run has changed since. */
  readonly own: Set<string>;
  /** What must not be there any more. */
  readonly gone: Set<string>;
  /** The names in the folder of tags, once this run has changed it. */
  tagNames: string | null;
};

type Taken = 'progress' | 'changed' | 'stop';

/**
 * Takes what goes from a repository: tags into the quarantine, links by the registry. Each lock holds requests for some tens of
 * milliseconds; under it, nothing may have been written since the repository was read.
 */
export async function takeLinks(context: RunContext, plan: RepositoryPlan): Promise<void> {
  const { leave, holds, quarantine, clean } = context;
  const targets = await findTargets(context, plan);
  const size = createBatchSize(64);
  let tries = 0;
  while (!isStopped(context)) {
    const view = await readView(context, targets);
    reviseTargets(context, view.scan, targets);
    const steps = findSteps(context, view.scan, targets, await askLeases(context, view.scan, targets));
    if (steps.length === 0) return;
    let result: Taken | null = 'progress';
    while (steps.length > 0 && result === 'progress' && !isStopped(context)) {
      const intents = await intend(context, plan.name, steps.slice(0, size.value));
      const before =
        view.watch.size > maxLockedPaths
          ? await createPacedRunner({ pace: clean.pace }).run(view.watch.findChanged())
          : null;
      try {
        result = await holds.hold([plan.name], (lock, isOver) =>
          takeSome(context, { view, targets, steps, intents, before, lock, isOver }),
        );
      } finally {
        for (const [item, number] of intents.numbers) quarantine.tell(number, item, 'left');
      }
      if (result === 'progress') {
        size.learn(holds.lastMs);
        tries = 0;
      }
    }
    if (result === 'stop') return;
    if (result === 'progress') continue;
    tries += 1;
    if (tries === maxTries) {
      leave(plan.name, 'it was in use all the time');
      return;
    }
    await sleep(result === null ? 2 ** tries * 10 : view.scanMs > maxLockedScanMs ? unsureMs : 10);
  }
}

function isStopped({ signal }: RunContext): boolean {
  return signal.aborted;
}

async function readView(context: RunContext, targets: RepositoryTargets): Promise<View> {
  const { folder, manifests, clean } = context;
  const { name } = targets;
  const evidence = await askEvidence(context, { repositories: [name] });
  const watch = new DirectoryWatch();
  const startedMs = performance.now();
  const watched = targets.links > maxWatchedLinks ? { watchedDigests: targets.manifests } : {};
  const scan = await scanRepository(folder.root, name, { watch, ...watched, manifests, pace: clean.pace });
  const scanMs = performance.now() - startedMs;
  return { scan, watch, scanMs, evidence, own: new Set(), gone: new Set(), tagNames: null };
}

/** Asks when what may go was last answered about. */
async function askLeases(
  context: RunContext,
  { manifests, layers }: RepositoryScan,
  targets: RepositoryTargets,
  lock?: DoorLock,
): Promise<(digest: string) => number> {
  const { clean } = context;
  if (clean.grace === 0 && clean.untagged === 0) return () => 0;
  const digests = [
    ...new Set([
      ...manifests.flatMap(({ digest }) => (targets.manifests.has(digest) ? [digest] : [])),
      ...layers.flatMap(({ digest, linkedAs }) => [digest, linkedAs]),
    ]),
  ];
  const askedMs = new Map<string, number>();
  for (let at = 0; at < digests.length; at += maxDigests) {
    const asked = digests.slice(at, at + maxDigests);
    const { leases } = await askEvidence(context, { digests: asked }, lock);
    for (const [index, digest] of asked.entries()) askedMs.set(digest, leases[index] ?? Infinity);
  }
  return (digest) => askedMs.get(digest) ?? 0;
}

/** What is in the journal already, so that no request waits for the disk. */
type Intents = {
  readonly batch: readonly Step[];
  /** Of each step; null: its links are not as they were. */
  readonly items: readonly (readonly Item[] | null)[];
  /** Of those that were not begun. */
  readonly numbers: Map<Item, number>;
};

async function intend(context: RunContext, name: string, batch: readonly Step[]): Promise<Intents> {
  const items = batch.map((step) => readItems(context, name, step));
  const all = items.flatMap((each) => each ?? []);
  const numbers = all.length === 0 ? [] : await context.quarantine.intend(all);
  return { batch, items, numbers: new Map(all.map((item, index) => [item, numbers[index] ?? -1])) };
}

function readItems(context: RunContext, name: string, { first, then }: Step): Item[] | null {
  const items = [first, ...then].map((item) => readItem(context, name, item));
  return items.every((item) => item !== null) ? items : null;
}

type Work = {
  readonly view: View;
  readonly targets: RepositoryTargets;
  /** What is taken is removed from it. */
  readonly steps: Step[];
  readonly intents: Intents;
  /** What had changed right before; null: look now. */
  readonly before: readonly string[] | null;
  readonly lock: DoorLock;
  readonly isOver: () => boolean;
};

/** Under the lock: makes sure that nothing has changed, and takes some of the steps. */
async function takeSome(context: RunContext, work: Work): Promise<Taken> {
  const { view, steps, intents, lock } = work;
  const { name } = view.scan;
  const digests = [...new Set(intents.batch.flatMap(({ leases }) => leases))];
  const evidence = await askEvidence(context, { repositories: [name], digests }, lock);
  const isQuiet = evidence.epoch === view.evidence.epoch && evidence.writes[0] === view.evidence.writes[0];
  const changedPaths = (work.before ?? view.watch.changed()).filter((path) => !view.own.has(path));
  if (isQuiet) await checkWrites(context, view, changedPaths);
  const leasedMs = new Map(digests.map((digest, index) => [digest, evidence.leases[index] ?? Infinity]));
  const askedMs = (digest: string) => leasedMs.get(digest) ?? Infinity;
  if (!isQuiet || changedPaths.length > 0) return takeAfterScan(context, work, askedMs);
  const { result, done, deletes } = await takeBatch(context, work, () => true, askedMs);
  steps.splice(0, done);
  // Its own deletes are the only writes under the lock.
  if (result === 'progress' && steps.length > 0)
    view.evidence = deletes ? await askEvidence(context, { repositories: [name] }, lock) : evidence;
  return result;
}

/** Reads a small repository again under the lock. Another must be read again without. */
async function takeAfterScan(
  context: RunContext,
  work: Work,
  askedMs: (digest: string) => number,
): Promise<Taken> {
  const { view, targets, lock, intents } = work;
  if (view.scanMs > maxLockedScanMs) return 'changed';
  const { folder, manifests } = context;
  const scan = await scanRepository(folder.root, view.scan.name, { manifests });
  reviseTargets(context, scan, targets);
  const steps = findSteps(context, scan, targets, await askLeases(context, scan, targets, lock));
  work.steps.length = 0; // they were found before
  const still = new Set(
    intents.batch.filter((step) => steps.some((other) => isDeepStrictEqual(step, other))),
  );
  if (still.size === 0) return 'changed';
  return (await takeBatch(context, work, (step) => still.has(step), askedMs)).result;
}

function forget(targets: RepositoryTargets, item: StepItem): void {
  if (item.what === 'tag') targets.tags.delete(item.tag);
  if (item.what === 'manifest') targets.manifests.delete(item.digest);
  if (item.what === 'layer') targets.triedLayers.add(item.digest);
}

/** @throws OperatorError when somebody has written there around the front doors */
async function checkWrites({ folder }: RunContext, view: View, paths: readonly string[]): Promise<void> {
  const { name } = view.scan;
  const written = [...view.watch.written(paths)];
  if (view.tagNames !== null && view.tagNames !== (await listTags(folder.root, name)))
    written.push(tagsPath(name));
  for (const path of view.gone) if (await exists(path)) written.push(path);
  const [path] = written;
  if (path === undefined) return;
  throw new OperatorError(
    `${name} was written to around the front doors (${path}): the run has ended, since nothing holds such writes. Let everybody push through Tidegate.`,
  );
}

async function listTags(root: string, name: string): Promise<string> {
  return (await readdir(join(root, tagsPath(name)))).sort().join(' ');
}

/** @returns how many steps are done: those that come too late for this lock are not. `deletes`: the registry was asked to */
async function takeBatch(
  context: RunContext,
  { view, targets, intents, lock, isOver }: Work,
  isStill: (step: Step) => boolean,
  askedMs: (digest: string) => number,
): Promise<{ result: Taken; done: number; deletes: boolean }> {
  const { folder, leave, signal } = context;
  const { name } = view.scan;
  let [done, tags, deletes] = [0, false, false];
  let result: Taken = 'progress';
  for (const [at, step] of intents.batch.entries()) {
    if (result === 'stop' || signal.aborted || (done > 0 && isOver())) break;
    done += 1;
    if (!isStill(step)) continue;
    const items = intents.items[at] ?? null;
    const label = labelOf(name, step.first);
    if (step.leases.some((digest) => isInUse(context, targets, askedMs(digest), step.byPulls)))
      leave(label, inUse);
    else if (items === null || !isDeepStrictEqual(items, readItems(context, name, step)))
      leave(label, changed);
    else
      for (const item of items) {
        await ensureHeld(context, lock);
        const number = intents.numbers.get(item) ?? -1;
        intents.numbers.delete(item);
        if (item.what === 'tag') tags = true;
        else deletes = true;
        const outcome = await take(context, lock, number, item, view);
        if (outcome === 'stop') result = 'stop';
        // Tags of a subject go only if it is gone.
        if (outcome !== 'taken') break;
        if (item.what === 'tag') noteTaken(targets, item.tag);
      }
    forget(targets, step.first);
  }
  if (tags) view.tagNames = await listTags(folder.root, name);
  return { result, done, deletes };
}

/** Takes one thing, and finds out on disk what became of it. */
async function take(
  context: RunContext,
  lock: DoorLock,
  number: number,
  item: Item,
  view: View,
): Promise<'taken' | 'left' | 'stop'> {
  const { quarantine, folder, logger, leave, nowMs, clean } = context;
  const { root } = folder;
  if (item.what === 'data') throw new Error('data is no link');
  const { repository } = item;
  if (item.what === 'tag') {
    await quarantine.move(item);
    quarantine.tell(number, item, 'taken');
    const path = join(root, tagPath(repository, item.tag));
    for (const own of [dirname(path), path, join(path, 'current'), join(path, 'current/link')])
      view.own.add(own);
    logger.info(
      { run: quarantine.run, what: 'tag', repository, tag: item.tag, digest: item.digest },
      'taken',
    );
    return 'taken';
  }
  const status = await (item.what === 'manifest'
    ? lock.deleteManifest(repository, item.digest)
    : lock.deleteBlob(repository, item.digest));
  if (status === null) {
    quarantine.tell(number, item, 'unknown');
    leave(repository, 'the registry did not say whether it had deleted something');
    await leaveAlone(folder, [repository], { untilMs: nowMs() + clean.grace, nowMs: nowMs() });
    return 'stop';
  }
  const outcome = await findOutcome(folder, quarantine.run, item);
  quarantine.tell(number, item, outcome, `the registry answered ${status}`);
  for (const file of item.files) {
    view.own.add(dirname(join(root, file.path)));
    if (outcome === 'taken') view.gone.add(join(root, file.path));
  }
  if (outcome === 'taken') {
    logger.info({ run: quarantine.run, what: item.what, repository, digest: item.digest }, 'taken');
    return 'taken';
  }
  if (status === 202)
    throw new OperatorError(
      `The registry says that it deleted ${item.digest} from ${repository}, and ${root}/${repositoryPath(repository)} still has it: is another registry at upstream.url?`,
    );
  leave(`${repository}@${item.digest}`, `the registry answered ${status} when it was to delete it`);
  return 'left';
}

const inUse = 'it was asked for lately';

function labelOf(name: string, item: StepItem): string {
  return item.what === 'tag' ? `${name}:${item.tag}` : `${name}@${item.digest}`;
}
