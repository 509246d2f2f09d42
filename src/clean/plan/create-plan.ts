import { DigestMemory } from '../scan/digest-memory.ts';
import { DigestTable } from '../scan/digest-table.ts';
import { ManifestReader } from '../scan/manifest-reader.ts';
import { scanRepositories } from '../scan/scan-repositories.ts';
import { listBlobs } from '../scan/stored-blobs.ts';
import { BlobCensus } from './blob-census.ts';
import { decideRepositories } from './decide-repositories.ts';
import { readSettings } from './decision-settings.ts';
import { otherDigests, type Exemptions } from './exemptions.ts';
import { createPlanTally, isRepository } from './plan-tally.ts';
import { findPlanWarnings } from './plan-warnings.ts';
import type { PlanOptions } from './plan-options.ts';
import type { Plan } from './plan.ts';
import { goesSomething, isWaiting, type RepositoryDecision } from './repository-decision.ts';
import { RepositoryDrafts } from './repository-drafts.ts';
import type { DecisionSettings } from './decision-settings.ts';
import { untaggedKey } from './untagged-record.ts';

/** Plans a run. Reads the storage and the record of usage, and changes nothing. */
export async function createPlan(options: PlanOptions): Promise<Plan> {
  const { root, clean, exemptions, usage, nowMs, all = false, onProgress } = options;
  const settings = readSettings(options);
  const paced = { pace: clean.pace, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const memory = new DigestMemory(clean.digestMemory);
  const digests = new DigestTable(memory);
  const blobs = new BlobCensus(memory, digests);
  // Before the links: so none of them needs a look of its own at the age of its data.
  const listed = listBlobs(root, { ...paced, onSlice: () => options.onListed?.(blobs.stored.blobs) });
  for await (const blob of listed) blobs.addStored(blob, nowMs - blob.mtimeMs >= clean.grace);
  const tally = createPlanTally(clean.rules);
  const drafts = new RepositoryDrafts(blobs, all);
  const untagged = new Map<string, number>();
  const scans = scanRepositories(root, {
    ...paced,
    manifests: new ManifestReader(root, { memory, digests }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  for await (const { scan, decision } of decideRepositories(scans, { ...options, all, settings, blobs })) {
    blobs.addRepository(scan, decision);
    tally.add(scan, decision);
    noteUntagged(scan.name, decision, settings, untagged);
    if (all ? isRepository(scan) : goesSomething(decision)) drafts.add(scan, decision);
  }
  blobs.settle(!tally.keepsData());
  const leasedBlobs = await exemptBlobs(blobs, exemptions);
  const totals = tally.totals(blobs);
  const { tags, manifests, links } = totals;
  const recordSinceMs = usage?.sinceMs ?? null;
  return {
    ...{ asOfMs: nowMs, recordSinceMs, untaggedMs: clean.untagged },
    goes: tags.goes + manifests.goes + links.goes + blobs.free.blobs > 0,
    repositories: drafts.finish(),
    rules: tally.rules(nowMs, recordSinceMs),
    unruled: tally.unruled,
    totals,
    exempt: tally.exempt(leasedBlobs),
    blobs: { [Symbol.iterator]: () => blobs.freeBlobs() },
    warnings: findPlanWarnings(options, { totals, ofRules: tally.warnings(), keepsData: tally.keepsData() }),
    ...tally.faults(),
    untagged,
  };
}

/** Takes out of the data that goes what else keeps it. Returns how much of it front doors answered lately. */
async function exemptBlobs(blobs: BlobCensus, { restored, findLeased }: Exemptions): Promise<number> {
  const isAnyLeased = (await findLeased([otherDigests])).size > 0;
  let leasedBlobs = 0;
  await blobs.exempt(async (digests) => {
    const others = digests.filter((digest) => restored.data(digest) === null);
    const leased = isAnyLeased ? new Set(others) : await findLeased(others);
    leasedBlobs += leased.size;
    return leased.size === 0 && others.length === digests.length
      ? leased
      : new Set(digests.filter((digest) => leased.has(digest) || restored.data(digest) !== null));
  });
  return leasedBlobs;
}

function noteUntagged(
  repository: string,
  { manifests, keepsAll }: RepositoryDecision,
  { firstUntaggedMs, nowMs }: DecisionSettings,
  untagged: Map<string, number>,
): void {
  if (keepsAll) return;
  for (const each of manifests) {
    if (!isWaiting(each)) continue;
    const firstMs = each.isOfTag ? nowMs : (firstUntaggedMs(repository, each.manifest) ?? nowMs);
    untagged.set(untaggedKey(repository, each.manifest.digest), Math.min(firstMs, nowMs));
  }
}
