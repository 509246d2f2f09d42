import type { TagPattern } from '../../policy/tag-pattern.ts';
import { compileRules } from '../rules/decide.ts';
import { createRuleCensus, lintRules, type RuleWarning } from '../rules/rule-lint.ts';
import { describeKeep, type RuleText } from '../rules/rule-text.ts';
import { ManifestReader } from '../scan/manifest-reader.ts';
import { scanRepositories } from '../scan/scan-repositories.ts';
import type { RepositoryScan, ScanFault, ScanProgress } from '../scan/scan-types.ts';
import { listBlobs, statBlob } from '../scan/stored-blobs.ts';
import { BlobCensus } from './blob-census.ts';
import { findExclusiveBlobs } from './exclusive-blobs.ts';
import { ofRepository, type Exemptions } from './exemptions.ts';
import type { PlanUsage, RepositoryUsage } from './plan-usage.ts';
import {
  decideRepository,
  relied,
  type DecidedManifest,
  type DecidedTag,
  type Exempt,
  type DecisionSettings,
  type RepositoryDecision,
} from './repository-decision.ts';
import { untaggedKey, type UntaggedRecord } from './untagged-record.ts';

/** What a run would take, and why. Times in milliseconds since the epoch. */
export type Plan = {
  readonly asOfMs: number;
  /** Since when pulls are recorded; null: they are not. */
  readonly recordSinceMs: number | null;
  /** `clean.untagged` in milliseconds; null: never. */
  readonly untaggedMs: number | null;
  /** Whether a run would take anything. */
  readonly goes: boolean;
  /** Those in which something goes; all, if that was asked for. In the order of the scan. */
  readonly repositories: readonly RepositoryPlan[];
  readonly rules: readonly RuleCount[];
  /** Tags that no rule decides. */
  readonly unruled: TagCount;
  readonly totals: PlanTotals;
  readonly exempt: ExemptCounts;
  /** The data that goes. */
  readonly blobs: Iterable<{ readonly digest: string; readonly bytes: number }>;
  readonly warnings: readonly string[];
  readonly faults: readonly ScanFault[];
  /** Faults beyond those that are listed. */
  readonly moreFaults: number;
  /** For `firstUntagged` of the next plan, if a run does what this one says. */
  readonly untagged: UntaggedRecord;
};

export type RepositoryPlan = {
  readonly name: string;
  /** Those that go; all, if that was asked for. The ones that go first, and the latest push first. */
  readonly tags: readonly PlannedTag[];
  /** Those that go. */
  readonly manifests: readonly PlannedManifest[];
  /** Links to blobs that go. */
  readonly links: number;
  readonly stays: { readonly tags: number; readonly manifests: number };
};

export type PlannedTag = {
  readonly tag: string;
  readonly digest: string | null;
  readonly goes: boolean;
  readonly rule: number | null;
  readonly why: string;
  readonly pushedMs: number;
  readonly pulledMs: number | null;
  /** Of what nothing but this tag holds. */
  readonly bytes: number;
};

export type PlannedManifest = {
  readonly digest: string;
  /** Whether a tag leads to it, which goes as well. */
  readonly isOfTag: boolean;
  readonly pushedMs: number;
  readonly pulledMs: number | null;
  /** Since when no tag leads to it, at the latest. */
  readonly untaggedMs: number;
  /** Of what nothing but this manifest holds; 0 if tags lead to it. */
  readonly bytes: number;
};

export type TagCount = { readonly kept: number; readonly retired: number };
export type RuleCount = TagCount & {
  readonly rule: number;
  readonly words: string;
  /** Until when the record of pulls is too young for the rule to retire anything. Null: it is old enough, or not asked. */
  readonly waitsUntilMs: number | null;
};

export type PlanTotals = {
  readonly repositories: number;
  readonly tags: GoesAndStays;
  readonly manifests: GoesAndStays & {
    /** Of those that stay: no tag leads to them any more, and they go once clean.untagged or clean.grace is over. */
    readonly waiting: number;
  };
  readonly links: GoesAndStays;
  readonly blobs: GoesAndStays;
  readonly bytes: GoesAndStays;
};

/** What stays though the rules, or its age, would let it go. A manifest counts that no tag which stays leads to. */
export type ExemptCounts = {
  /** What undo restored, and until when the last of it stays. */
  readonly restored: { readonly tags: number; readonly manifests: number; readonly untilMs: number | null };
  /** What front doors answered within clean.grace. */
  readonly askedFor: { readonly tags: number; readonly manifests: number; readonly blobs: number };
  /** Repositories where a delete had an unknown outcome. Of many the first. */
  readonly leftAlone: readonly { readonly name: string; readonly untilMs: number }[];
};

type GoesAndStays = { readonly goes: number; readonly stays: number };

export type PlanOptions = {
  /** The registry's root directory. */
  readonly root: string;
  /** `clean` of the configuration. */
  readonly clean: {
    readonly rules: readonly RuleText[];
    readonly grace: number;
    readonly untagged: number | null;
    readonly pace: number;
  };
  readonly immutableTags: readonly TagPattern[];
  /** Null: what is pulled is not recorded. */
  readonly usage: PlanUsage | null;
  /** What earlier runs saw without a tag. */
  readonly untagged: UntaggedRecord;
  readonly exemptions: Exemptions;
  /** What else is to be known. */
  readonly notes?: readonly string[];
  readonly nowMs: number;
  /** Gives the place of a part of `clean.rules`, such as `config/tidegate.yml:12`. */
  readonly placeOf: (path: readonly (string | number)[]) => string;
  /** Whether the plan has each tag that stays. */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ScanProgress) => void;
};

const maxFaults = 200;
const maxLeftAlone = 200;
/** In locks and leases: all digests that are not sha256. An upload by one of them is stored under its sha256. */
export const otherDigests = 'digest:other';

/** Plans a run. Reads the storage and the record of usage, and changes nothing. */
export async function createPlan(options: PlanOptions): Promise<Plan> {
  const { root, clean, exemptions, usage, nowMs, all = false, placeOf } = options;
  const settings = readSettings(options);
  const paced = { pace: clean.pace, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const { onProgress } = options;
  const manifests = new ManifestReader(root);
  const blobs = new BlobCensus();
  const tally = createTally(clean.rules);
  const drafts: Draft[] = [];
  const untagged = new Map<string, number>();
  for await (const scan of scanRepositories(root, {
    ...paced,
    manifests,
    ...(onProgress === undefined ? {} : { onProgress }),
  })) {
    const decision = await decide(scan, options, settings);
    blobs.addRepository(scan, decision);
    tally.add(scan, decision);
    noteUntagged(scan.name, decision, settings, untagged);
    if (all ? isRepository(scan) : goesSomething(decision))
      drafts.push(draftRepository(scan, decision, blobs, all));
  }
  for await (const blob of listBlobs(root, paced))
    blobs.addBlob(blob, !tally.keepsData() && canGo(blob) && nowMs - blob.mtimeMs >= clean.grace);
  const { restored, findLeased } = exemptions;
  await blobs.exempt((digests) =>
    Promise.resolve(new Set(digests.filter((digest) => restored.data(digest) !== null))),
  );
  const isAnyLeased = (await findLeased([otherDigests])).size > 0;
  const leasedBlobs = await blobs.exempt((digests) =>
    isAnyLeased ? Promise.resolve(new Set(digests)) : findLeased(digests),
  );

  const totals = tally.totals(blobs);
  const { tags, manifests: ofManifests, links } = totals;
  return {
    asOfMs: nowMs,
    recordSinceMs: usage?.sinceMs ?? null,
    untaggedMs: clean.untagged,
    goes: tags.goes + ofManifests.goes + links.goes + blobs.free.blobs > 0,
    repositories: drafts.map((draft) => finish(draft, blobs)),
    rules: tally.rules(nowMs, usage?.sinceMs ?? null),
    unruled: tally.unruled,
    totals,
    exempt: tally.exempt(leasedBlobs),
    blobs: { [Symbol.iterator]: () => blobs.freeBlobs() },
    warnings: [
      ...(options.notes ?? []),
      ...[...lintRules(clean.rules), ...tally.warnings()].map((warning) => sayWarning(warning, placeOf)),
      ...findWarnings(options, totals, tally.keepsData()),
    ],
    ...tally.faults(),
    untagged,
  };
}

/** What decideRepository needs, from the configuration. */
export function readSettings({
  clean,
  immutableTags,
  untagged,
  nowMs,
}: Pick<PlanOptions, 'clean' | 'immutableTags' | 'untagged' | 'nowMs'>): DecisionSettings {
  return {
    rules: compileRules(clean.rules, immutableTags),
    graceMs: clean.grace,
    untaggedMs: clean.untagged,
    nowMs,
    firstUntaggedMs: (repository, digest) => untagged.get(untaggedKey(repository, digest)) ?? null,
  };
}

/** As if everything had been recorded for ever, and nothing was pulled. */
const neverPulled: RepositoryUsage = { sinceMs: -Infinity, pulls: new Map() };

/** Most repositories need no look into the record: in them nothing would go even if nobody pulled. */
async function decide(
  scan: RepositoryScan,
  { root, usage, exemptions, clean, nowMs, all }: PlanOptions,
  settings: DecisionSettings,
): Promise<RepositoryDecision> {
  const exempt = ofRepository(exemptions, scan.name);
  if (!all) {
    const least = decideRepository(scan, neverPulled, settings, exempt);
    if (!goesSomething(least) && !isExempt(least)) return least;
  }
  const used = (await usage?.read(scan.name)) ?? null;
  const decision = decideRepository(scan, used, settings, exempt);
  const leased = new Set(await exemptions.findLeased(listRelied(decision)));
  for (const { digest } of decision.links)
    if (nowMs - (statBlob(root, digest)?.mtimeMs ?? 0) < clean.grace) leased.add(digest);
  return leased.size === 0
    ? decision
    : decideRepository(scan, used, settings, ofRepository(exemptions, scan.name, leased));
}

/** All digests by which a client may rely on something that would go. */
function listRelied({ tags, manifests, links }: RepositoryDecision): string[] {
  return [
    ...new Set([
      ...tags.flatMap(({ tag, goes }) => (goes && tag.digest !== null ? [tag.digest] : [])),
      ...manifests.flatMap(({ manifest: { digest, linkedAs, content }, goes }) =>
        goes ? [linkedAs, ...relied(digest, content)] : [],
      ),
      ...links.flatMap(({ digest, linkedAs }) => [digest, linkedAs]),
    ]),
  ];
}

function isExempt({ tags, manifests }: RepositoryDecision): boolean {
  return tags.some(({ exempt }) => exempt !== null) || manifests.some(({ exempt }) => exempt !== null);
}

/** No run takes data that is stored by another algorithm. */
function canGo({ digest }: { readonly digest: string }): boolean {
  return digest.startsWith('sha256:');
}

function isRepository({ tags, manifests, layers }: RepositoryScan): boolean {
  return tags.length + manifests.length + layers.length > 0;
}

function goesSomething({ tags, manifests, links }: RepositoryDecision): boolean {
  return links.length > 0 || tags.some(({ goes }) => goes) || manifests.some(({ goes }) => goes);
}

/** Those that go first, then the latest push first. */
function inOrder(one: DecidedTag, other: DecidedTag): number {
  return (
    Number(other.goes) - Number(one.goes) ||
    other.tag.pushedMs - one.tag.pushedMs ||
    (one.tag.name < other.tag.name ? -1 : 1)
  );
}

/** A repository's plan, with digests in the place of bytes: only the end of the scan shows what others hold. */
type Draft = {
  readonly plan: RepositoryPlan;
  readonly tagBlobs: readonly Uint32Array[];
  readonly manifestBlobs: readonly Uint32Array[];
};

function draftRepository(
  scan: RepositoryScan,
  decision: RepositoryDecision,
  blobs: BlobCensus,
  all: boolean,
): Draft {
  const exclusive = findExclusiveBlobs(scan, decision);
  const tags = decision.tags.filter(({ goes }) => goes || all).sort(inOrder);
  const manifests = decision.manifests.filter(({ goes }) => goes);
  const going = decision.tags.filter(({ goes }) => goes).length;
  return {
    plan: {
      name: scan.name,
      tags: tags.map(({ tag, goes, rule, why, pulledMs }) => ({
        tag: tag.name,
        digest: tag.digest,
        goes,
        rule,
        why,
        pushedMs: tag.pushedMs,
        pulledMs,
        bytes: 0,
      })),
      manifests: manifests.map(({ manifest, isOfTag, pulledMs, untaggedMs }) => ({
        digest: manifest.digest,
        isOfTag,
        pushedMs: manifest.linkMtimeMs,
        pulledMs,
        untaggedMs: untaggedMs ?? 0,
        bytes: 0,
      })),
      links: decision.links.length,
      stays: {
        tags: decision.tags.length - going,
        manifests: decision.manifests.length - manifests.length,
      },
    },
    tagBlobs: tags.map(({ tag }) => blobs.numbersOf(exclusive.ofTag(tag.name))),
    manifestBlobs: manifests.map(({ manifest }) => blobs.numbersOf(exclusive.ofManifest(manifest.digest))),
  };
}

function finish({ plan, tagBlobs, manifestBlobs }: Draft, blobs: BlobCensus): RepositoryPlan {
  const sum = (numbers: Uint32Array | undefined) => (numbers === undefined ? 0 : blobs.sumExclusive(numbers));
  return {
    ...plan,
    tags: plan.tags.map((tag, index) => ({ ...tag, bytes: sum(tagBlobs[index]) })),
    manifests: plan.manifests.map((manifest, index) => ({ ...manifest, bytes: sum(manifestBlobs[index]) })),
  };
}

const isWaiting = ({ goes, untaggedMs }: DecidedManifest) => !goes && untaggedMs !== null;

function noteUntagged(
  repository: string,
  { manifests, keepsAll }: RepositoryDecision,
  { firstUntaggedMs, nowMs }: DecisionSettings,
  untagged: Map<string, number>,
): void {
  if (keepsAll) return;
  for (const each of manifests) {
    if (!isWaiting(each)) continue;
    const { digest } = each.manifest;
    const firstMs = each.isOfTag ? nowMs : Math.min(firstUntaggedMs(repository, digest) ?? nowMs, nowMs);
    untagged.set(untaggedKey(repository, digest), firstMs);
  }
}

function createTally(rules: readonly RuleText[]) {
  const census = createRuleCensus(rules);
  const byRule = rules.map(() => ({ kept: 0, retired: 0 }));
  const unruled = { kept: 0, retired: 0 };
  const counts = {
    repositories: 0,
    tags: { goes: 0, stays: 0 },
    manifests: { goes: 0, stays: 0, waiting: 0 },
    links: { goes: 0, stays: 0 },
  };
  const restored = { tags: 0, manifests: 0, untilMs: null as number | null };
  const askedFor = { tags: 0, manifests: 0 };
  const leftAlone: { name: string; untilMs: number }[] = [];
  const noteExempt = (what: 'tags' | 'manifests', exempt: Exempt | null) => {
    if (exempt === 'asked for') askedFor[what] += 1;
    else if (exempt !== null) {
      restored[what] += 1;
      restored.untilMs = Math.max(exempt.restoredUntilMs, restored.untilMs ?? 0);
    }
  };
  const faults: ScanFault[] = [];
  let faultCount = 0;
  let keepsData = false;
  return {
    unruled,
    add: (scan: RepositoryScan, { tags, manifests, links, leftAloneUntilMs }: RepositoryDecision) => {
      if (isRepository(scan)) {
        counts.repositories += 1;
        census.addRepository(scan.name);
      }
      if (leftAloneUntilMs !== null && leftAlone.length < maxLeftAlone)
        leftAlone.push({ name: scan.name, untilMs: leftAloneUntilMs });
      for (const { goes, rule, exempt } of tags) {
        noteExempt('tags', exempt);
        counts.tags[goes ? 'goes' : 'stays'] += 1;
        (byRule[(rule ?? 0) - 1] ?? unruled)[goes ? 'retired' : 'kept'] += 1;
        if (rule !== null) census.addTag(rule, !goes);
      }
      for (const each of manifests) {
        counts.manifests[each.goes ? 'goes' : 'stays'] += 1;
        if (!isWaiting(each)) continue;
        if (each.exempt === null) counts.manifests.waiting += 1;
        else noteExempt('manifests', each.exempt);
      }
      counts.links.goes += links.length;
      counts.links.stays += scan.layers.length - links.length;
      faultCount += scan.faults.length;
      for (const fault of scan.faults) {
        if (fault.keeps === 'storage') keepsData = true;
        if (faults.length < maxFaults) faults.push(fault);
      }
    },
    keepsData: () => keepsData,
    warnings: () => census.warnings(),
    rules: (nowMs: number, recordSinceMs: number | null) =>
      byRule.map((count, index) => {
        const { keep } = rules[index] ?? { keep: 'forever' as const };
        return {
          rule: index + 1,
          words: describeKeep(keep),
          waitsUntilMs: findWait(keep, recordSinceMs, nowMs),
          ...count,
        };
      }),
    totals: ({ stored, free }: BlobCensus): PlanTotals => ({
      ...counts,
      blobs: { goes: free.blobs, stays: stored.blobs - free.blobs },
      bytes: { goes: free.bytes, stays: stored.bytes - free.bytes },
    }),
    exempt: (blobs: number): ExemptCounts => ({ restored, askedFor: { ...askedFor, blobs }, leftAlone }),
    faults: () => ({ faults, moreFaults: faultCount - faults.length }),
  };
}

function findWait(keep: RuleText['keep'], recordSinceMs: number | null, nowMs: number): number | null {
  if (keep === 'forever' || keep.pulledWithin === undefined || recordSinceMs === null) return null;
  const untilMs = recordSinceMs + keep.pulledWithin;
  return nowMs <= untilMs ? untilMs : null;
}

function sayWarning({ path, sentence }: RuleWarning, placeOf: PlanOptions['placeOf']): string {
  return `${placeOf(path)}: clean.rules: ${sentence}.`;
}

function findWarnings(
  { usage, clean }: PlanOptions,
  { manifests, tags }: PlanTotals,
  keepsData: boolean,
): string[] {
  const warnings: string[] = [];
  const needsRecord = clean.rules.some(({ keep }) => keep !== 'forever' && keep.pulledWithin !== undefined);
  if (usage === null && (needsRecord || (clean.untagged !== null && clean.untagged > 0)))
    warnings.push(
      'Pulls are not recorded (state.usage), so no rule with pulledWithin retires a tag, and manifests without a tag stay.',
    );
  if (clean.untagged === null && tags.goes + manifests.waiting > 0)
    warnings.push('clean.untagged is never: manifests stay when their tags go, and no bytes come free.');
  if (keepsData)
    warnings.push(
      'Folders could not be read that may hold links, so no data goes. See what could not be read.',
    );
  return warnings;
}
