import { mayBeTombstone, tombstoneBytes } from '../../registry/tombstone.ts';
import { isOfSubject, type TagFacts } from '../rules/decide.ts';
import { createMarker, startOf, subjectOfTag, type RepositoryMark } from '../scan/mark.ts';
import type { LayerScan, ManifestScan, RepositoryScan, TagScan } from '../scan/scan-types.ts';
import type { DecisionSettings } from './decision-settings.ts';
import { noExemptions, type RepositoryExemptions } from './exemptions.ts';
import type { RepositoryUsage } from './plan-usage.ts';
import { createTagReliance, layerReliance, manifestReliance } from './reliance.ts';

export type DecidedTag = {
  readonly tag: TagScan;
  readonly goes: boolean;
  /** The rule that decides, counted from 1; null: none does. */
  readonly rule: number | null;
  readonly why: string;
  readonly pulledMs: number | null;
  /** Null: the rules decided. */
  readonly exempt: Exempt | null;
};

/** Why something stays that would go otherwise: undo restored it until then, or it was asked for within clean.grace. */
export type Exempt = { readonly restoredUntilMs: number } | 'asked for';

export type DecidedManifest = {
  readonly manifest: ManifestScan;
  readonly goes: boolean;
  /** Whether a tag that goes leads to it. */
  readonly isOfTag: boolean;
  readonly pulledMs: number | null;
  /**
   * Of one to which no tag that stays leads: since when that is so at the latest, as far as is known. Null: one does.
   */
  readonly untaggedMs: number | null;
  /** Null: neither restored by undo nor asked for lately. */
  readonly exempt: Exempt | null;
};

/** What goes and what stays in a repository. */
export type RepositoryDecision = {
  /** Whether everything stays, since something could not be read, or a delete had an unknown outcome. */
  readonly keepsAll: boolean;
  readonly leftAloneUntilMs: number | null;
  readonly tags: readonly DecidedTag[];
  readonly manifests: readonly DecidedManifest[];
  /** The links to blobs that go: no manifest that stays names them. */
  readonly links: readonly LayerScan[];
};

/** Whether a run would take anything of it. */
export function goesSomething({ tags, manifests, links }: RepositoryDecision): boolean {
  return links.length > 0 || tags.some(({ goes }) => goes) || manifests.some(({ goes }) => goes);
}

/** Whether it stays though no tag that stays leads to it. */
export const isWaiting = ({ goes, untaggedMs }: DecidedManifest) => !goes && untaggedMs !== null;

/** Decides about everything in a repository. Pure. */
export function decideRepository(
  scan: RepositoryScan,
  usage: RepositoryUsage | null,
  settings: DecisionSettings,
  exemptions: RepositoryExemptions = noExemptions,
): RepositoryDecision {
  const { leftAloneUntilMs } = exemptions;
  const isYoung = (ms: number | null) => ms !== null && settings.nowMs - ms < settings.graceMs;
  const tags = decideTags(scan, usage, settings, exemptions);
  const kept = tags.flatMap(({ tag, goes }) => (goes || tag.digest === null ? [] : [tag.digest]));
  const retired = tags.flatMap(({ tag, goes }) => (goes && tag.digest !== null ? [tag.digest] : []));
  // Tags of a subject are still to be decided: they hold nothing up, unless their subject is not here or they must stay.
  const markFrom = createMarker(scan);
  const { attached, subjects } = findAttached(
    scan,
    tags,
    ({ name, digest, pushedMs }) =>
      isYoung(pushedMs) ||
      exemptions.tagUntilMs(name) !== null ||
      (digest !== null && exemptions.isLeased(digest)),
  );
  const roots = [...kept.filter((digest) => !attached.has(digest)), ...subjects];
  const tagged = markFrom(roots);
  const ofRetired = markFrom([...retired, ...attached]);
  const ages = scan.manifests.map((manifest) =>
    findAge(manifest, scan, usage, settings, tagged.keepsManifest(manifest), ofRetired),
  );
  const exempt = scan.manifests.map((manifest) => findExemptManifest(manifest, exemptions));
  // No run takes a manifest that is linked by another digest than its own.
  const waiting = scan.manifests.filter(
    ({ digest, linkedAs }, index) =>
      ages[index]?.isRipe === false || exempt[index] !== null || digest !== linkedAs,
  );
  const mark = markFrom([...roots, ...waiting.map(({ digest }) => digest)]);
  const keepsAll = mark.keepsAll || leftAloneUntilMs !== null;
  const whyAll =
    leftAloneUntilMs === null
      ? 'something here could not be read'
      : `a delete had an unknown outcome here: left alone until ${sayMinute(leftAloneUntilMs)}`;
  return {
    ...{ keepsAll, leftAloneUntilMs },
    tags: tags.map((each) => settleTag(each, mark, subjects, keepsAll ? whyAll : null)),
    manifests: scan.manifests.map((manifest, index) => ({
      manifest,
      goes: !keepsAll && !mark.keepsManifest(manifest),
      exempt: exempt[index] ?? null,
      isOfTag: ofRetired.keepsManifest(manifest),
      pulledMs: ages[index]?.pulledMs ?? null,
      untaggedMs: ages[index]?.untaggedMs ?? null,
    })),
    links: scan.layers.filter(
      (layer) =>
        layer.isReadable &&
        !keepsAll &&
        !mark.keepsLayer(layer) &&
        !isYoung(layer.linkMtimeMs) &&
        !layerReliance(layer).some(exemptions.isLeased) &&
        exemptions.linkUntilMs(layer.linkedAs) === null,
    ),
  };
}

function findExemptManifest(
  manifest: ManifestScan,
  { linkUntilMs, isLeased }: RepositoryExemptions,
): Exempt | null {
  const restoredUntilMs = linkUntilMs(manifest.digest);
  if (restoredUntilMs !== null) return { restoredUntilMs };
  return manifestReliance(manifest).some(isLeased) ? 'asked for' : null;
}

type TagDecision = DecidedTag & { readonly isOfSubject: boolean };

function decideTags(
  scan: RepositoryScan,
  usage: RepositoryUsage | null,
  { rules, graceMs, nowMs }: DecisionSettings,
  { tagUntilMs, isLeased }: RepositoryExemptions,
): TagDecision[] {
  const tombstones = findTombstones(scan);
  // A tag that is being deleted is none of the newest.
  const tags = scan.tags.filter(({ digest }) => !tombstones.has(digest ?? ''));
  const facts = tags.map(({ name: tag, digest, pushedMs }): TagFacts => {
    // Many clients resolve a tag with HEAD, and pull the digest.
    const pulledMs = latest(usage?.pulls.get(tag), digest === null ? undefined : usage?.pulls.get(digest));
    return { name: tag, pushedMs, pulledMs };
  });
  const reliedOn = createTagReliance(scan);
  const verdicts = rules.decide(scan.name, facts, { nowMs, recordSinceMs: usage?.sinceMs ?? null });
  const decideOne = (tag: TagScan, index: number): TagDecision => {
    const verdict = verdicts[index];
    if (verdict === undefined) throw new Error('there is a verdict on each tag');
    const { keep, rule, why } = verdict;
    const pulledMs = facts[index]?.pulledMs ?? null;
    const decided = {
      tag,
      goes: !keep,
      rule,
      why,
      pulledMs,
      exempt: null,
      isOfSubject: isOfSubject(verdict),
    };
    if (keep) return decided;
    if (nowMs - tag.pushedMs < graceMs) return { ...decided, goes: false, why: youngWhys.pushed };
    if (pulledMs !== null && nowMs - pulledMs < graceMs)
      return { ...decided, goes: false, why: youngWhys.pulled };
    const restoredUntilMs = tagUntilMs(tag.name);
    if (restoredUntilMs !== null)
      return {
        ...decided,
        goes: false,
        why: `restored by undo, kept until ${sayMinute(restoredUntilMs)}`,
        exempt: { restoredUntilMs },
      };
    if (tag.digest !== null && reliedOn(tag.digest).some(isLeased))
      return { ...decided, goes: false, why: youngWhys.askedFor, exempt: 'asked for' };
    return decided;
  };
  const decided = new Map(tags.map((tag, index) => [tag, decideOne(tag, index)]));
  const stays = { goes: false, rule: null, pulledMs: null, exempt: null, isOfSubject: false };
  return scan.tags.map((tag) => decided.get(tag) ?? { ...stays, tag, why: 'a front door is deleting it' });
}

/** Finds the manifests that stand for deleted tags: the front door that deletes one ends it. */
function findTombstones({ manifests }: RepositoryScan): ReadonlySet<string> {
  return new Set(
    manifests.flatMap(({ digest, bytes, content }) =>
      mayBeTombstone(digest) && bytes === tombstoneBytes && content?.named.length === 0 ? [digest] : [],
    ),
  );
}

const youngWhys = {
  pushed: 'pushed within clean.grace',
  pulled: 'pulled within clean.grace',
  askedFor: 'asked for within clean.grace',
};

/** To the minute, in UTC. */
export function sayMinute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

/**
 * Finds the manifests that only tags of a subject lead to, and the digests that must stay for such tags: one that must stay
 * keeps its subject, and one whose subject is elsewhere (cosign can be told to keep signatures in another repository) stays.
 */
function findAttached(
  { manifests }: RepositoryScan,
  tags: readonly TagDecision[],
  mustStay: (tag: TagScan) => boolean,
) {
  const attached = new Set<string>();
  const subjects = new Set<string>();
  const free = new Set(tags.flatMap(({ tag, isOfSubject }) => (isOfSubject ? [] : [tag.digest])));
  const byStart = new Map<string, Set<ManifestScan>>();
  for (const manifest of tags.some(({ isOfSubject }) => isOfSubject) ? manifests : [])
    for (const start of [startOf(manifest.digest), startOf(manifest.linkedAs)]) {
      const alike = byStart.get(start) ?? new Set();
      byStart.set(start, alike.add(manifest));
    }
  for (const { tag, isOfSubject } of tags) {
    if (!isOfSubject || tag.digest === null) continue;
    const own = [...(byStart.get(subjectOfTag(tag.name) ?? '') ?? [])];
    if (own.length === 0 || mustStay(tag)) {
      subjects.add(tag.digest);
      for (const { digest } of own) subjects.add(digest);
    } else if (!free.has(tag.digest)) attached.add(tag.digest);
  }
  return { attached, subjects };
}

function settleTag(
  { isOfSubject, ...decided }: TagDecision,
  mark: RepositoryMark,
  subjects: ReadonlySet<string>,
  whyAll: string | null,
): DecidedTag {
  const { tag, goes } = decided;
  if (whyAll !== null) return goes ? { ...decided, goes: false, why: whyAll } : decided;
  if (!isOfSubject || mark.keepsSubjectTag(tag.name) || subjects.has(tag.digest ?? '')) return decided;
  return { ...decided, goes: true, why: 'its subject goes' };
}

/** How long a manifest has been without a tag, and whether that is long enough. */
function findAge(
  manifest: ManifestScan,
  { name, tagsFolderMtimeMs }: RepositoryScan,
  usage: RepositoryUsage | null,
  { graceMs, untaggedMs: limitMs, nowMs, firstUntaggedMs }: DecisionSettings,
  isTagged: boolean,
  ofRetired: RepositoryMark,
) {
  const { digest, linkedAs, linkMtimeMs, dataMtimeMs, lostTagMs, isReadable } = manifest;
  const pulledMs = latest(usage?.pulls.get(digest), usage?.pulls.get(linkedAs));
  if (isTagged) return { pulledMs, untaggedMs: null, isRipe: true };
  const isOfTag = ofRetired.keepsManifest({ digest, linkedAs });
  const writtenMs = Math.max(linkMtimeMs, dataMtimeMs ?? 0);
  // A tag that was removed left nothing but its folder's time, and that of the run which first saw it gone.
  const removedMs = Math.min(tagsFolderMtimeMs ?? 0, firstUntaggedMs(name, manifest) ?? Infinity);
  const untaggedMs = isOfTag ? nowMs : Math.max(writtenMs, lostTagMs ?? 0, removedMs);
  if (!isReadable || limitMs === null) return { pulledMs, untaggedMs, isRipe: false };
  const usedMs = Math.max(writtenMs, pulledMs ?? 0);
  // Pulls before the record's beginning are not known. One that goes together with its tag need not wait for that.
  const sinceMs = Math.max(usedMs, usage?.sinceMs ?? nowMs, isOfTag ? 0 : untaggedMs);
  return { pulledMs, untaggedMs, isRipe: nowMs - usedMs >= graceMs && nowMs - sinceMs >= limitMs };
}

function latest(one: number | undefined, other: number | undefined): number | null {
  if (one === undefined || other === undefined) return one ?? other ?? null;
  return Math.max(one, other);
}
