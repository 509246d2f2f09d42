import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerPath, revisionPath, type Item, type LinkFile, type LinkItem } from '../quarantine/item.ts';
import { createTagReliance, layerReliance, manifestReliance } from '../plan/reliance.ts';
import { markRepository, startOf, subjectOfTag } from '../scan/mark.ts';
import type { ManifestScan, RepositoryScan } from '../scan/scan-types.ts';
import { statBlob } from '../scan/stored-blobs.ts';
import { isInUse, type RepositoryTargets } from './repository-targets.ts';
import { isRecent, type RunContext } from './run-context.ts';

/** One thing that goes next, with what must go together with it under one lock. */
export type Step = {
  readonly first: StepItem;
  /** Tags of a subject go right after it. */
  readonly then: readonly StepItem[];
  /** It stays if one of these was answered lately. */
  readonly leases: readonly string[];
  /** Whether a pull that the record does not have yet keeps it, too. */
  readonly byPulls: boolean;
};

export type StepItem =
  | { readonly what: 'tag'; readonly tag: string; readonly digest: string }
  | { readonly what: 'manifest' | 'layer'; readonly digest: string };

/**
 * Finds what can go next: tags; then manifests that no other names; at last links to blobs that no manifest names. Whatever
 * is not itself to go keeps all that belongs to it.
 *
 * @param askedMs when a digest was last answered about; 0: not lately
 */
export function findSteps(
  context: RunContext,
  scan: RepositoryScan,
  targets: RepositoryTargets,
  askedMs: (digest: string) => number,
): Step[] {
  const tags = findTags(scan, targets);
  const plain = tags.filter(({ tag }) => subjectOfTag(tag) === null);
  if (markRepository(scan, []).keepsAll) return [];
  if (plain.length > 0) return stepsOfTags(scan, targets, plain);
  const manifests = findManifests(context, scan, targets, tags, askedMs);
  return manifests.length > 0 ? manifests : findLayers(context, scan, targets, askedMs);
}

type TagItem = Extract<StepItem, { what: 'tag' }>;

function stepsOfTags(scan: RepositoryScan, { tags }: RepositoryTargets, going: readonly TagItem[]): Step[] {
  const reliedOn = createTagReliance(scan);
  return going.map((first) => {
    const byPulls = tags.get(first.tag)?.byPulls ?? true;
    return { first, then: [], leases: reliedOn(first.digest), byPulls };
  });
}

/** Those that are still what they were. */
function findTags(scan: RepositoryScan, targets: RepositoryTargets) {
  return scan.tags.flatMap(({ name, digest, pushedMs }) => {
    const target = targets.tags.get(name);
    const isSame = digest !== null && target?.digest === digest && target.pushedMs === pushedMs;
    return isSame ? [{ what: 'tag', tag: name, digest } as const] : [];
  });
}

function findManifests(
  context: RunContext,
  scan: RepositoryScan,
  targets: RepositoryTargets,
  tags: readonly TagItem[],
  askedMs: (digest: string) => number,
): Step[] {
  const byPulls = context.clean.untagged !== 0;
  const layerMs = new Map(scan.layers.map(({ linkedAs, linkMtimeMs }) => [linkedAs, linkMtimeMs]));
  const mayGo = (manifest: ManifestScan) =>
    manifest.isReadable &&
    targets.manifests.get(manifest.digest) === manifest.linkMtimeMs &&
    // The registry deletes both of its links.
    !isRecent(
      context,
      Math.max(manifest.linkMtimeMs, manifest.dataMtimeMs ?? 0, layerMs.get(manifest.digest) ?? 0),
    ) &&
    !isInUse(context, targets, askedMs(manifest.digest), byPulls);
  const ofSubjects = new Map(tags.map((each) => [each.tag, each]));
  const staying = [
    ...scan.tags.filter(({ name }) => !ofSubjects.has(name)).map(({ digest }) => digest ?? ''),
    ...scan.manifests.filter((manifest) => !mayGo(manifest)).map(({ digest }) => digest),
  ];
  const mark = markRepository(scan, staying);
  const named = new Set<string>();
  for (const { content, digest } of scan.manifests)
    for (const other of [...(content?.named ?? []), content?.subject])
      if (other && other !== digest) named.add(other);
  // What only a tag of a subject holds goes after that tag.
  const tagged = new Set(tags.map(({ digest }) => digest));
  const bySubject = new Map<string, StepItem[]>();
  for (const each of tags) {
    const subject = subjectOfTag(each.tag) ?? '';
    const ofSame = bySubject.get(subject);
    if (ofSame === undefined) bySubject.set(subject, [each]);
    else ofSame.push(each);
  }
  return scan.manifests
    .filter(
      (manifest) =>
        mayGo(manifest) &&
        !mark.keepsManifest(manifest) &&
        !named.has(manifest.digest) &&
        !tagged.has(manifest.digest),
    )
    .map((manifest) => {
      const { digest } = manifest;
      const then = bySubject.get(startOf(digest)) ?? [];
      const leases = [...manifestReliance(manifest), ...then.map((each) => each.digest)];
      return { first: { what: 'manifest', digest }, then, leases, byPulls };
    });
}

function findLayers(
  context: RunContext,
  scan: RepositoryScan,
  targets: RepositoryTargets,
  askedMs: (digest: string) => number,
): Step[] {
  const { folder, protection } = context;
  const mark = markRepository(scan, [
    ...scan.tags.map(({ digest }) => digest ?? ''),
    ...scan.manifests.map(({ digest }) => digest),
  ]);
  return scan.layers
    .filter(
      (layer) =>
        layer.isReadable &&
        !targets.triedLayers.has(layer.linkedAs) &&
        !mark.keepsLayer(layer) &&
        !isRecent(context, layer.linkMtimeMs) &&
        !isRecent(context, statBlob(folder.root, layer.digest)?.mtimeMs ?? 0) &&
        !isRecent(context, askedMs(layer.digest)) &&
        !isRecent(context, askedMs(layer.linkedAs)) &&
        protection.link(scan.name, layer.linkedAs) === null,
    )
    .map((layer) => ({
      first: { what: 'layer', digest: layer.linkedAs },
      then: [],
      leases: layerReliance(layer),
      byPulls: false,
    }));
}

/** Reads what the journal must know of a step. Null: its links are not as they were. */
export function readItem({ folder }: RunContext, repository: string, item: StepItem): Item | null {
  if (item.what === 'tag') return { ...item, repository };
  const paths =
    item.what === 'manifest'
      ? [revisionPath(repository, item.digest), layerPath(repository, item.digest)]
      : [layerPath(repository, item.digest)];
  const files: LinkFile[] = [];
  for (const path of paths) {
    const file = readLinkFile(folder.root, path);
    if (file === 'odd') return null;
    if (file !== null) files.push(file);
  }
  if (files[0]?.path !== paths[0]) return null;
  return { what: item.what, repository, digest: item.digest, files } satisfies LinkItem;
}

function readLinkFile(root: string, path: string): LinkFile | 'odd' | null {
  const status = lstatSync(join(root, path), { throwIfNoEntry: false });
  if (status === undefined) return null;
  if (!status.isFile()) return 'odd';
  const content = readFileSync(join(root, path), 'latin1');
  if (!/^[\x21-\x7e]{1,255}$/.test(content)) return 'odd';
  return { path, content, mode: status.mode & 0o7777, mtimeMs: status.mtimeMs };
}
