import { decideRepository } from '../plan/repository-decision.ts';
import { readSettings, type RepositoryPlan } from '../plan/plan.ts';
import { scanRepository } from '../scan/repository-scan.ts';
import type { RunContext } from './run-context.ts';

/** What is to go from a repository. It is decided once, since each thing that goes changes what the rest looks like. */
export type RepositoryTargets = {
  readonly name: string;
  /** By name: where the tag led, and when it was pushed. */
  readonly tags: Map<string, { readonly digest: string; readonly pushedMs: number }>;
  /** By digest: when it was pushed. */
  readonly manifests: Map<string, number>;
  /** Digests of layers that were tried. */
  readonly triedLayers: Set<string>;
  /** How many links the repository had. */
  readonly links: number;
};

/** Decides again, now: only what the plan named can go. */
export async function findTargets(context: RunContext, plan: RepositoryPlan): Promise<RepositoryTargets> {
  const { clean, immutableTags, untagged, nowMs, usage, leave, protection } = context;
  const scan = await scanRepository(context.folder.root, plan.name, {
    manifests: context.manifests,
    pace: clean.pace,
  });
  const settings = readSettings({ clean, immutableTags, untagged, nowMs: nowMs() });
  const decision = decideRepository(scan, (await usage?.read(plan.name)) ?? null, settings);
  const plannedTags = new Set(plan.tags.flatMap(({ tag, goes }) => (goes ? [tag] : [])));
  const plannedManifests = new Set(plan.manifests.map(({ digest }) => digest));
  const targets: RepositoryTargets = {
    name: plan.name,
    tags: new Map(),
    manifests: new Map(),
    triedLayers: new Set(),
    links: scan.manifests.length + scan.layers.length,
  };
  for (const { tag, goes } of decision.tags) {
    if (!goes || tag.digest === null || !plannedTags.delete(tag.name)) continue;
    if (protection.tag(plan.name, tag.name)) leave(`${plan.name}:${tag.name}`, restored);
    else targets.tags.set(tag.name, { digest: tag.digest, pushedMs: tag.pushedMs });
  }
  for (const { manifest, goes } of decision.manifests) {
    if (!goes || manifest.digest !== manifest.linkedAs || !plannedManifests.delete(manifest.digest)) continue;
    if (protection.link(plan.name, manifest.digest)) leave(`${plan.name}@${manifest.digest}`, restored);
    else targets.manifests.set(manifest.digest, manifest.linkMtimeMs);
  }
  for (const tag of plannedTags) leave(`${plan.name}:${tag}`, changed);
  for (const digest of plannedManifests) leave(`${plan.name}@${digest}`, changed);
  return targets;
}

export const restored = 'undo brought it back';
export const changed = 'it was changed, or used, since the plan';
