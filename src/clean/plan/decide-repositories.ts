import { maxPullsOf } from '../../usage/usage-question.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import { statBlob } from '../scan/stored-blobs.ts';
import type { BlobCensus } from './blob-census.ts';
import type { DecisionSettings } from './decision-settings.ts';
import { ofRepository, type Exemptions } from './exemptions.ts';
import type { PlanUsage, RepositoryUsage } from './plan-usage.ts';
import { createTagReliance, layerReliance, manifestReliance } from './reliance.ts';
import { decideRepository, goesSomething, type RepositoryDecision } from './repository-decision.ts';

export type DecideOptions = {
  /** The registry's root directory. */
  readonly root: string;
  readonly settings: DecisionSettings;
  /** Null: what is pulled is not recorded. */
  readonly usage: PlanUsage | null;
  readonly exemptions: Exemptions;
  /** Has all data that is stored. */
  readonly blobs: Pick<BlobCensus, 'isOld'>;
  /** Whether the last pulls matter also where nothing goes. */
  readonly all: boolean;
};

export type DecidedRepository = { readonly scan: RepositoryScan; readonly decision: RepositoryDecision };

/** Front doors are asked about so many repositories at once, or about fewer with so many links. */
const maxRepositories = maxPullsOf;
const maxLinks = 4000;

/** As if everything had been recorded for ever, and nothing was pulled. */
const neverPulled: RepositoryUsage = { sinceMs: -Infinity, pulls: new Map() };

/** Decides about repositories in their order. What must be asked for is asked for several at once. */
export async function* decideRepositories(
  scans: AsyncIterable<RepositoryScan>,
  options: DecideOptions,
): AsyncGenerator<DecidedRepository> {
  let batch: RepositoryScan[] = [];
  let links = 0;
  for await (const scan of scans) {
    batch.push(scan);
    links += scan.tags.length + scan.manifests.length + scan.layers.length;
    if (batch.length < maxRepositories && links < maxLinks) continue;
    yield* await decideBatch(batch, options);
    batch = [];
    links = 0;
  }
  yield* await decideBatch(batch, options);
}

async function decideBatch(
  scans: readonly RepositoryScan[],
  options: DecideOptions,
): Promise<DecidedRepository[]> {
  const { usage, settings, exemptions } = options;
  const least = scans.map((scan) => decideWithoutRecord(scan, options));
  const open = scans.filter((_, index) => least[index] === null);
  const used = await readUsage(usage, open);
  const decided = scans.map((scan, index) => {
    const known = least[index] ?? null;
    if (known !== null) return { scan, decision: known };
    const decision = decideRepository(scan, used(scan), settings, ofRepository(exemptions, scan.name));
    return { scan, decision };
  });
  const leased = await exemptions.findLeased([...new Set(decided.flatMap(listRelied))]);
  return decided.map(({ scan, decision }) => {
    const kept = findKept({ scan, decision }, leased, options);
    if (kept.size === 0) return { scan, decision };
    const exempt = ofRepository(exemptions, scan.name, kept);
    return { scan, decision: decideRepository(scan, used(scan), settings, exempt) };
  });
}

/** Most repositories need no look into the record: in them nothing would go even if nobody pulled. Null: it matters. */
function decideWithoutRecord(
  scan: RepositoryScan,
  { settings, exemptions, all }: DecideOptions,
): RepositoryDecision | null {
  if (all) return null;
  const least = decideRepository(scan, neverPulled, settings, ofRepository(exemptions, scan.name));
  return goesSomething(least) || isExempt(least) ? null : least;
}

function isExempt({ tags, manifests }: RepositoryDecision): boolean {
  return tags.some(({ exempt }) => exempt !== null) || manifests.some(({ exempt }) => exempt !== null);
}

async function readUsage(
  usage: PlanUsage | null,
  scans: readonly RepositoryScan[],
): Promise<(scan: RepositoryScan) => RepositoryUsage | null> {
  if (usage === null || scans.length === 0) return () => null;
  const { sinceMs, pulls } = await usage.readAll(scans.map(({ name }) => name));
  return ({ name }) => ({ sinceMs, pulls: pulls.get(name) ?? neverPulled.pulls });
}

/** All digests by which a client may rely on something that would go. */
function listRelied({ scan, decision: { tags, manifests, links } }: DecidedRepository): string[] {
  const reliedOn = createTagReliance(scan);
  return [
    ...tags.flatMap(({ tag, goes }) => (goes && tag.digest !== null ? reliedOn(tag.digest) : [])),
    ...manifests.flatMap(({ manifest, goes }) => (goes ? manifestReliance(manifest) : [])),
    ...links.flatMap(layerReliance),
  ];
}

/** Those that were answered lately, and links to data that was written again since. */
function findKept(
  decided: DecidedRepository,
  leased: ReadonlySet<string>,
  { root, blobs, settings: { nowMs, graceMs } }: DecideOptions,
): ReadonlySet<string> {
  const kept = new Set(leased.size === 0 ? [] : listRelied(decided).filter((digest) => leased.has(digest)));
  for (const { digest } of decided.decision.links) {
    const isOld = blobs.isOld(digest) ?? nowMs - (statBlob(root, digest)?.mtimeMs ?? 0) >= graceMs;
    if (!isOld) kept.add(digest);
  }
  return kept;
}
