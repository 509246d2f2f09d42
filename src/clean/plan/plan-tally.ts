import { createRuleCensus } from '../rules/rule-lint.ts';
import { describeKeep, type RuleText } from '../rules/rule-text.ts';
import type { RepositoryScan, ScanFault } from '../scan/scan-types.ts';
import type { BlobCensus } from './blob-census.ts';
import type { ExemptCounts, PlanTotals, RuleCount } from './plan.ts';
import { isWaiting, type Exempt, type RepositoryDecision } from './repository-decision.ts';

const maxFaults = 200;
const maxLeftAlone = 200;

/** Adds up what is decided, over all repositories. */
export function createPlanTally(rules: readonly RuleText[]) {
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
    add: (scan: RepositoryScan, { tags, manifests, links, leftAloneUntilMs }: RepositoryDecision): void => {
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
    rules: (nowMs: number, recordSinceMs: number | null): RuleCount[] =>
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

/** Whether there is more than an empty folder. */
export function isRepository({ tags, manifests, layers }: RepositoryScan): boolean {
  return tags.length + manifests.length + layers.length > 0;
}

function findWait(keep: RuleText['keep'], recordSinceMs: number | null, nowMs: number): number | null {
  if (keep === 'forever' || keep.pulledWithin === undefined || recordSinceMs === null) return null;
  const untilMs = recordSinceMs + keep.pulledWithin;
  return nowMs <= untilMs ? untilMs : null;
}
