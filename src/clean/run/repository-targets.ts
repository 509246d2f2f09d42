import type { RepositoryUsage } from '../plan/plan-usage.ts';
import { decideRepository, type RepositoryDecision } from '../plan/repository-decision.ts';
import { readSettings } from '../plan/decision-settings.ts';
import type { RepositoryPlan } from '../plan/plan.ts';
import { markRepository, subjectOfTag } from '../scan/mark.ts';
import { scanRepository } from '../scan/repository-scan.ts';
import type { RepositoryScan, TagScan } from '../scan/scan-types.ts';
import { isRecent, type RunContext } from './run-context.ts';

/**
 * What is to go from a repository. It is decided once, since each thing that goes changes what the rest looks like. What
 * others change meanwhile takes things away from it, and adds none.
 */
export type RepositoryTargets = {
  readonly name: string;
  /** By name. */
  readonly tags: Map<string, TargetTag>;
  /** By digest: when it was pushed. */
  readonly manifests: Map<string, number>;
  /** Tags that were taken: for the others the rules count them as before. */
  readonly takenTags: TagScan[];
  /** The record of pulls that it was decided by. */
  readonly usage: RepositoryUsage | null;
  /** Every pull before is in that record, in milliseconds since the epoch. */
  readonly recordedMs: number;
  /** Digests of layers that were tried. */
  readonly triedLayers: Set<string>;
  /** How many links the repository had. */
  readonly links: number;
};

/** Where a tag led, and when it was pushed. `byPulls`: a later pull would keep it. */
export type TargetTag = { readonly digest: string; readonly pushedMs: number; readonly byPulls: boolean };

/** A pull is in the record some seconds after its answer, in milliseconds. */
const recordLagMs = 10_000;

/** Decides again, now: only what the plan named can go. */
export async function findTargets(context: RunContext, plan: RepositoryPlan): Promise<RepositoryTargets> {
  const { clean, nowMs, leave } = context;
  const recordedMs = nowMs() - recordLagMs;
  const usage = (await context.usage?.read(plan.name)) ?? null;
  const scan = await scanRepository(context.folder.root, plan.name, {
    manifests: context.manifests,
    pace: clean.pace,
  });
  const decision = decide(context, scan, usage);
  const plannedTags = new Set(plan.tags.flatMap(({ tag, goes }) => (goes ? [tag] : [])));
  const plannedManifests = new Set(plan.manifests.map(({ digest }) => digest));
  const targets: RepositoryTargets = {
    ...{ name: plan.name, usage, recordedMs },
    tags: new Map(),
    manifests: new Map(),
    takenTags: [],
    triedLayers: new Set(),
    links: scan.manifests.length + scan.layers.length,
  };
  for (const { tag, goes, rule } of decision.tags) {
    if (!goes || tag.digest === null || !plannedTags.delete(tag.name)) continue;
    const { digest, pushedMs } = tag;
    targets.tags.set(tag.name, { digest, pushedMs, byPulls: countsPulls(context, rule) });
  }
  for (const { manifest, goes } of decision.manifests) {
    if (!goes || manifest.digest !== manifest.linkedAs || !plannedManifests.delete(manifest.digest)) continue;
    targets.manifests.set(manifest.digest, manifest.linkMtimeMs);
  }
  for (const tag of plannedTags) leave(`${plan.name}:${tag}`, changed);
  for (const digest of plannedManifests) leave(`${plan.name}@${digest}`, changed);
  return targets;
}

/**
 * Drops what others have changed since, or what the rules would keep now: of the newest tags one may have been deleted. A
 * manifest that lost a tag so is kept for `clean.untagged`.
 */
export function reviseTargets(context: RunContext, scan: RepositoryScan, targets: RepositoryTargets): void {
  if (targets.tags.size === 0) return;
  const { clean, leave } = context;
  const tags = [...scan.tags, ...targets.takenTags];
  const decision = decide(context, { ...scan, tags }, targets.usage);
  const going = new Map(
    decision.tags.slice(0, scan.tags.length).flatMap(({ tag, goes }) => (goes ? [[tag.name, tag]] : [])),
  );
  const lost: string[] = [];
  for (const [name, { digest, pushedMs }] of targets.tags) {
    const tag = going.get(name);
    if (tag?.digest === digest && tag.pushedMs === pushedMs) continue;
    targets.tags.delete(name);
    leave(`${targets.name}:${name}`, changed);
    lost.push(digest);
  }
  if (lost.length === 0 || clean.untagged === 0) return;
  const mark = markRepository(scan, lost);
  for (const manifest of scan.manifests) {
    if (!mark.keepsManifest(manifest) || !targets.manifests.delete(manifest.digest)) continue;
    leave(`${targets.name}@${manifest.digest}`, changed);
  }
}

/** Notes that this run has taken a tag. */
export function noteTaken({ tags, takenTags }: RepositoryTargets, name: string): void {
  const tag = tags.get(name);
  if (tag !== undefined && subjectOfTag(name) === null) takenTags.push({ name, ...tag });
  tags.delete(name);
}

/** Whether it was asked for so lately that it stays. @param byPulls whether a pull that is not in the record keeps it */
export function isInUse(
  context: RunContext,
  { recordedMs }: RepositoryTargets,
  askedMs: number,
  byPulls: boolean,
): boolean {
  return isRecent(context, askedMs) || (byPulls && askedMs > recordedMs);
}

function decide(
  { clean, immutableTags, untagged, nowMs }: RunContext,
  scan: RepositoryScan,
  usage: RepositoryUsage | null,
): RepositoryDecision {
  return decideRepository(scan, usage, readSettings({ clean, immutableTags, untagged, nowMs: nowMs() }));
}

function countsPulls({ clean }: RunContext, rule: number | null): boolean {
  const keep = rule === null ? undefined : clean.rules[rule - 1]?.keep;
  return keep !== undefined && keep !== 'forever' && keep.pulledWithin !== undefined;
}

export const changed = 'it was changed, or used, since the plan';
