import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { untracedKey } from '../../registry/write-counts.ts';
import type { MergedEvidence } from '../channel/doors.ts';
import { otherDigests } from '../plan/exemptions.ts';
import { tagsPath } from '../quarantine/item.ts';
import { DirectoryWatch } from '../scan/directory-watch.ts';
import { readStatus } from '../scan/file-status.ts';
import type { Steps } from '../scan/paced-steps.ts';
import { scanRepository } from '../scan/repository-scan.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import { askEvidence } from './holds.ts';
import type { RepositoryTargets } from './repository-targets.ts';
import type { RunContext } from './run-context.ts';

/** What was read of a repository, and how to tell whether it is still so. */
export type RepositoryView = {
  readonly scan: RepositoryScan;
  readonly scanMs: number;
  /** When it began to be read, by the clock that only goes forward. */
  readonly startedMs: number;
  /** What was written by then. */
  readonly evidence: MergedEvidence;
  /** The digests that it was asked about, with their write counters. */
  readonly digestWrites: ReadonlyMap<string, number>;
  readonly watch: DirectoryWatch;
  /** Watched paths that this run has changed since. */
  readonly own: Set<string>;
  /** What must not be there any more. */
  readonly gone: Set<string>;
  /** What must be in the folder of tags. */
  readonly tagNames: Set<string>;
};

/** Of more links, only those that go are watched one by one. */
const maxWatchedLinks = 5000;
/** The most digests of one question. */
export const maxDigests = 5000;
/** How old a view may be of a repository that others write to, or so many times as long as it took: others may also write around the front doors. */
const maxUsedMs = 5000;
const maxUsedScans = 10;
/** A lease is noted to the second. */
const leaseStepMs = 1000;
const sha256Form = /^sha256:[0-9a-f]{64}$/;

/** @param digests what may be taken by it, if others write meanwhile */
export async function readView(
  context: RunContext,
  targets: RepositoryTargets,
  digests: readonly string[],
): Promise<RepositoryView> {
  const { folder, manifests, clean } = context;
  const { name } = targets;
  const startedMs = performance.now();
  const asked = [otherDigests, ...digests.slice(0, maxDigests - 1)];
  const evidence = await askEvidence(context, { repositories: writeKeys(name), digests: asked });
  const digestWrites = new Map(asked.map((digest, i) => [digest, evidence.digestWrites[i] ?? NaN]));
  const tagNames = new Set(listTags(folder.root, name));
  const watch = new DirectoryWatch();
  const watched = targets.links > maxWatchedLinks ? { watchedDigests: targets.manifests } : {};
  const scan = await scanRepository(folder.root, name, { watch, ...watched, manifests, pace: clean.pace });
  const scanMs = performance.now() - startedMs;
  const seen = { scan, scanMs, startedMs, evidence, digestWrites, watch };
  return { ...seen, own: new Set(), gone: new Set(), tagNames };
}

/** The counters that {@link compareView} needs of a repository. */
export function writeKeys(repository: string): string[] {
  return [repository, untracedKey(repository)];
}

/**
 * Compares a view with evidence of {@link writeKeys} and `otherDigests`, asked under the lock. `quiet`: nobody has written
 * there since. `used`: others have, and it is known what about. `changed`: it must be read again.
 */
export function compareView(view: RepositoryView, evidence: MergedEvidence): 'quiet' | 'used' | 'changed' {
  const before = view.evidence;
  if (evidence.epoch !== before.epoch) return 'changed';
  if (evidence.writes[0] === before.writes[0]) return 'quiet';
  const isTraced =
    evidence.writes[1] === before.writes[1] &&
    evidence.digestWrites[0] === view.digestWrites.get(otherDigests) &&
    evidence.leasesSince < startOf(view);
  const ageMs = performance.now() - view.startedMs;
  return isTraced && ageMs < Math.max(maxUsedMs, maxUsedScans * view.scanMs) ? 'used' : 'changed';
}

/** Whether, in a repository that others write to, nobody has written or been told anything about a digest since. */
export function isUntouched(
  view: RepositoryView,
  digest: string,
  now: { readonly writes: number; readonly leasedMs: number },
): boolean {
  return (
    sha256Form.test(digest) && now.writes === view.digestWrites.get(digest) && now.leasedMs < startOf(view)
  );
}

/** When it began to be read, as leases are told now: a jump of the clock moves them as well. */
function startOf({ startedMs }: RepositoryView): number {
  return Date.now() - (performance.now() - startedMs) - leaseStepMs;
}

/** How many paths {@link findWritten} looks at. */
export function countPaths({ watch, gone }: RepositoryView): number {
  return watch.size + gone.size;
}

/** Finds a path that was written since, but by this run; null: none. */
export function* findWritten(root: string, view: RepositoryView): Steps<string | null> {
  const { watch, own, gone, tagNames, scan } = view;
  const written = yield* watch.findWritten(own);
  if (written !== null) return written;
  for (const path of gone) {
    if (readStatus(path) !== null) return path;
    yield;
  }
  const names = listTags(root, scan.name);
  const isSame = names.length === tagNames.size && names.every((name) => tagNames.has(name));
  return isSame ? null : join(root, tagsPath(scan.name));
}

/** None of a folder that cannot be read: the scan says so. */
function listTags(root: string, name: string): string[] {
  try {
    return readdirSync(join(root, tagsPath(name)));
  } catch {
    return [];
  }
}
