import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import type { DoorLock, MergedEvidence } from '../channel/doors.ts';
import { otherDigests } from '../plan/exemptions.ts';
import { tagPath, type Item } from '../quarantine/item.ts';
import { readStoredLink } from '../scan/stored-links.ts';
import { askEvidence, ensureHeld, type IsOver } from './holds.ts';
import { readItem, type Step, type StepItem } from './repository-steps.ts';
import { changed, isInUse, noteTaken, type RepositoryTargets } from './repository-targets.ts';
import { compareView, isUntouched, writeKeys, type RepositoryView } from './repository-view.ts';
import type { RunContext } from './run-context.ts';
import { takeItem } from './take-item.ts';
import type { ViewCheck } from './view-check.ts';

/** Steps that are in the journal already, so that no request waits for the disk. */
export type Intents = {
  /** Those that are still to be done. Each one that is done is removed. */
  readonly open: { readonly step: Step; readonly items: readonly Item[] | null }[];
  /** Of those that were not begun. */
  readonly numbers: Map<Item, number>;
};

/** `changed`: the repository must be read again first. `stop`: leave it. */
export type Taken = { readonly result: 'progress' | 'changed' | 'stop'; readonly taken: number };

export async function intend(
  context: RunContext,
  targets: RepositoryTargets,
  steps: readonly Step[],
): Promise<Intents> {
  const open = steps.map((step) => ({ step, items: readItems(context, targets, step) }));
  const all = open.flatMap(({ items }) => items ?? []);
  const numbers = all.length === 0 ? [] : await context.quarantine.intend(all);
  return { open, numbers: new Map(all.map((item, index) => [item, numbers[index] ?? -1])) };
}

/** Null: they are not as they were. */
function readItems(context: RunContext, targets: RepositoryTargets, { first, then }: Step): Item[] | null {
  const items = [first, ...then].map((item) =>
    item.what === 'tag' && !isSameTag(context, targets, item.tag)
      ? null
      : readItem(context, targets.name, item),
  );
  return items.every((item) => item !== null && isSameManifest(targets, item)) ? (items as Item[]) : null;
}

/** Whether nobody has pushed it again: its link would be newer. */
function isSameManifest({ manifests }: RepositoryTargets, item: Item): boolean {
  return item.what !== 'manifest' || item.files[0]?.mtimeMs === manifests.get(item.digest);
}

/** Whether it leads where it led, by the same push. */
function isSameTag({ folder }: RunContext, { name, tags }: RepositoryTargets, tag: string): boolean {
  const target = tags.get(tag);
  const link = readStoredLink(join(folder.root, tagPath(name, tag), 'current/link'));
  return target !== undefined && link?.digest === target.digest && link.mtimeMs === target.pushedMs;
}

type Work = {
  readonly view: RepositoryView;
  readonly targets: RepositoryTargets;
  readonly intents: Intents;
  readonly check: Pick<ViewCheck, 'findWritten'>;
  readonly lock: DoorLock;
  readonly isOver: IsOver;
  /** Gets what has been written there, as a counter. */
  readonly onWrites: (writes: number) => void;
};

/** Under the lock: makes sure that what goes is as it was when the repository was read, and takes it. */
export async function takeSteps(context: RunContext, work: Work): Promise<Taken> {
  const { view, intents, lock, targets } = work;
  const { name } = targets;
  const digests = [...new Set(intents.open.flatMap(({ step }) => step.leases))];
  const asked = { repositories: writeKeys(name), digests: [otherDigests, ...digests] };
  const evidence = await askEvidence(context, asked, lock);
  work.onWrites(evidence.writes[0] ?? NaN);
  const state = compareView(view, evidence);
  if (state === 'changed') return { result: 'changed', taken: 0 };
  const written = state === 'quiet' ? work.check.findWritten() : null;
  if (written !== null)
    throw new OperatorError(
      `${name} was written to around the front doors (${written}): the run has ended, since nothing holds such writes. Let everybody push through Tidegate.`,
    );
  const noted = noteEvidence(digests, evidence);
  const isUsed = state === 'used';
  const isFree = (step: Step) =>
    !isUsed || step.leases.every((digest) => isUntouched(view, digest, noted(digest)));
  return takeOpen(context, work, { noted, isUsed, isFree });
}

type Noted = (digest: string) => { readonly writes: number; readonly leasedMs: number };

/** @param evidence asked about `otherDigests` and these */
function noteEvidence(digests: readonly string[], { leases, digestWrites }: MergedEvidence): Noted {
  const all = new Map(
    digests.map((digest, i) => [
      digest,
      { writes: digestWrites[i + 1] ?? NaN, leasedMs: leases[i + 1] ?? Infinity },
    ]),
  );
  return (digest) => all.get(digest) ?? { writes: NaN, leasedMs: Infinity };
}

/** @param facts `isUsed`: others write there; `isFree`: whether nobody can have changed what a step relies on */
async function takeOpen(
  context: RunContext,
  { view, targets, intents, lock, isOver }: Work,
  facts: { readonly noted: Noted; readonly isUsed: boolean; readonly isFree: (step: Step) => boolean },
): Promise<Taken> {
  const { noted, isUsed, isFree } = facts;
  const { leave, signal } = context;
  const { open } = intents;
  let taken = 0;
  let longestMs = 0;
  for (let next = open[0]; next !== undefined && !signal.aborted; next = open[0]) {
    if (longestMs > 0 && isOver(longestMs)) break;
    open.shift();
    const { step, items } = next;
    // It is looked at again when the repository is read again.
    if (!isFree(step)) continue;
    const startedMs = performance.now();
    const label = labelOf(targets.name, step.first);
    const isSame = items !== null && isDeepStrictEqual(items, readItems(context, targets, step));
    if (!isSame && isUsed) continue;
    if (step.leases.some((digest) => isInUse(context, targets, noted(digest).leasedMs, step.byPulls)))
      leave(label, inUse);
    else if (!isSame) leave(label, changed);
    else {
      const result = await takeStep(context, { view, targets, intents, lock }, items);
      if (result === 'stop') return { result, taken };
      if (result === 'taken') taken += 1;
    }
    forget(targets, step.first);
    longestMs = Math.max(longestMs, performance.now() - startedMs);
  }
  return { result: 'progress', taken };
}

async function takeStep(
  context: RunContext,
  { view, targets, intents, lock }: Pick<Work, 'view' | 'targets' | 'intents' | 'lock'>,
  items: readonly Item[],
): Promise<'taken' | 'left' | 'stop'> {
  for (const item of items) {
    await ensureHeld(context, lock);
    const number = intents.numbers.get(item) ?? -1;
    intents.numbers.delete(item);
    const outcome = await takeItem(context, lock, { item, number }, view);
    // Tags of a subject go only if it is gone.
    if (outcome !== 'taken') return outcome;
    if (item.what === 'tag') noteTaken(targets, item.tag);
  }
  return 'taken';
}

function forget(targets: RepositoryTargets, item: StepItem): void {
  if (item.what === 'tag') targets.tags.delete(item.tag);
  if (item.what === 'manifest') targets.manifests.delete(item.digest);
  if (item.what === 'layer') targets.triedLayers.add(item.digest);
}

const inUse = 'it was asked for lately';

function labelOf(name: string, item: StepItem): string {
  return item.what === 'tag' ? `${name}:${item.tag}` : `${name}@${item.digest}`;
}
