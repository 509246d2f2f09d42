import type { RepositoryPlan } from '../plan/plan.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import { createCourtesy, type Courtesy } from './courtesy.ts';
import { rest } from './rest.ts';
import { askEvidence } from './holds.ts';
import { findSteps, type Step } from './repository-steps.ts';
import { findTargets, reviseTargets, type RepositoryTargets } from './repository-targets.ts';
import { maxDigests, readView, type RepositoryView } from './repository-view.ts';
import type { RunContext } from './run-context.ts';
import { intend, takeSteps, type Taken } from './take-steps.ts';
import { createViewCheck, type ViewCheck } from './view-check.ts';

/** A repository from which nothing could be taken for so long is left, in milliseconds. */
const maxFruitlessMs = 60_000;
/** Between two tries, in milliseconds. */
const [minPauseMs, maxPauseMs] = [5, 500];
/** After so many tries a lock is waited for for longer, in milliseconds. */
const [maxShortTries, longWaitMs] = [4, 50];
/** So many steps are written to the journal at once. */
const maxIntended = 64;

/**
 * Takes what goes from a repository: tags into the quarantine, links by the registry. Each lock holds requests for some tens of
 * milliseconds; under it, what goes must be as it was when the repository was read.
 */
export async function takeLinks(context: RunContext, plan: RepositoryPlan): Promise<void> {
  const targets = await findTargets(context, plan);
  const patience = createPatience(context.signal);
  const courtesy = createCourtesy(() => performance.now());
  let expected = expectDigests(targets, [], []);
  while (!isStopped(context)) {
    const view = await readView(context, targets, expected);
    reviseTargets(context, view.scan, targets);
    const steps = findSteps(context, view.scan, targets, await askLeases(context, view.scan, targets));
    if (steps.length === 0) return;
    expected = expectDigests(targets, steps, view.scan.layers);
    const parts = { view, targets, patience, courtesy, check: createViewCheck(context, view) };
    let result: Taken['result'] = 'progress';
    for (let at = 0; at < steps.length && result === 'progress' && !isStopped(context); at += maxIntended)
      result = await takeChunk(context, parts, steps.slice(at, at + maxIntended));
    if (result === 'stop') return;
    if (patience.isOver()) {
      context.leave(plan.name, 'it was in use all the time');
      return;
    }
    await patience.pause();
  }
}

type Parts = {
  readonly view: RepositoryView;
  readonly targets: RepositoryTargets;
  readonly patience: Patience;
  readonly courtesy: Courtesy;
  readonly check: ViewCheck;
};

/** Takes some steps, under as many locks as that needs. */
async function takeChunk(
  context: RunContext,
  { view, targets, patience, courtesy, check }: Parts,
  steps: readonly Step[],
): Promise<Taken['result']> {
  const { holds, quarantine } = context;
  const intents = await intend(context, targets, steps);
  const onWrites = (writes: number) => courtesy.noteWrites(writes);
  try {
    while (intents.open.length > 0 && !isStopped(context)) {
      await check.prepare();
      const done = await holds.hold(
        [targets.name],
        (lock, isOver) => takeSteps(context, { view, targets, intents, check, lock, isOver, onWrites }),
        patience.waitMs(),
      );
      if (done === null) {
        if (patience.isOver()) return 'changed';
        await patience.pause();
        continue;
      }
      if (done.taken > 0) patience.noteTaken();
      if (done.result !== 'progress') return done.result;
      const restMs = courtesy.restMs(holds.lastMs);
      if (restMs >= 1) await rest(restMs, context.signal);
    }
    return 'progress';
  } finally {
    for (const [item, number] of intents.numbers) quarantine.tell(number, item, 'left');
  }
}

function isStopped({ signal }: RunContext): boolean {
  return signal.aborted;
}

/** Tries again later and later while nothing can be taken. */
type Patience = {
  noteTaken(): void;
  /** None right after something was taken. */
  pause(): Promise<void>;
  /** How long a lock may be waited for; undefined: as ever. */
  waitMs(): number | undefined;
  isOver(): boolean;
};

function createPatience(signal: AbortSignal): Patience {
  let takenMs = performance.now();
  let tries = 0;
  return {
    noteTaken: () => {
      takenMs = performance.now();
      tries = 0;
    },
    pause: async () => {
      if (tries > 0) await rest(Math.min(maxPauseMs, minPauseMs * 2 ** tries), signal);
      tries += 1;
    },
    waitMs: () => (tries > maxShortTries ? longWaitMs : undefined),
    isOver: () => performance.now() - takenMs > maxFruitlessMs,
  };
}

/** What may be taken next, the likeliest first. */
function expectDigests(
  { tags, manifests }: RepositoryTargets,
  steps: readonly Step[],
  layers: RepositoryScan['layers'],
): string[] {
  const found = new Set<string>();
  const add = (digests: Iterable<string>) => {
    for (const digest of digests) {
      if (found.size === maxDigests) return;
      found.add(digest);
    }
  };
  for (const { leases } of steps) add(leases);
  for (const { digest } of tags.values()) add([digest]);
  add(manifests.keys());
  for (const { digest, linkedAs } of layers) add([digest, linkedAs]);
  return [...found];
}

/** Asks when what may go was last answered about. */
async function askLeases(
  context: RunContext,
  { manifests, layers }: RepositoryScan,
  targets: RepositoryTargets,
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
    const { leases } = await askEvidence(context, { digests: asked });
    for (const [index, digest] of asked.entries()) askedMs.set(digest, leases[index] ?? Infinity);
  }
  return (digest) => askedMs.get(digest) ?? 0;
}
