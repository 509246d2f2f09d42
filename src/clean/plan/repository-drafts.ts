import type { RepositoryScan } from '../scan/scan-types.ts';
import type { BlobCensus } from './blob-census.ts';
import { findExclusiveBlobs } from './exclusive-blobs.ts';
import type { PlannedManifest, PlannedTag, RepositoryPlan } from './plan.ts';
import type { DecidedTag, RepositoryDecision } from './repository-decision.ts';

type Open<Planned> = Omit<Planned, 'bytes'> & { bytes: number };
type OpenPlan = RepositoryPlan & {
  readonly tags: readonly Open<PlannedTag>[];
  readonly manifests: readonly Open<PlannedManifest>[];
};

/** A repository's plan without the bytes: only the end of the scan shows what other repositories hold. */
type Draft = {
  readonly plan: OpenPlan;
  /** Of each tag, then of each manifest: where the numbers of what only it holds end. */
  readonly ends: readonly number[];
  /** The numbers, in the census. */
  readonly numbers: Uint32Array;
};

/** Collects the plans of repositories, with four bytes for each digest that only one tag or manifest holds. */
export class RepositoryDrafts {
  readonly #blobs: BlobCensus;
  readonly #all: boolean;
  readonly #drafts: Draft[] = [];

  /** @param all whether tags that stay are listed too */
  constructor(blobs: BlobCensus, all: boolean) {
    this.#blobs = blobs;
    this.#all = all;
  }

  add(scan: RepositoryScan, decision: RepositoryDecision): void {
    const exclusive = findExclusiveBlobs(scan, decision);
    const plan = planRepository(scan, decision, this.#all);
    const numbers: number[] = [];
    const ends: number[] = [];
    const note = (digests: readonly string[]) => {
      for (const digest of digests) numbers.push(this.#blobs.numberOf(digest));
      ends.push(numbers.length);
    };
    for (const { tag } of plan.tags) note(exclusive.ofTag(tag));
    for (const { digest } of plan.manifests) note(exclusive.ofManifest(digest));
    this.#drafts.push({ plan, ends, numbers: Uint32Array.from(numbers) });
  }

  /** Adds the bytes. Call it when the census has all repositories. */
  finish(): RepositoryPlan[] {
    return this.#drafts.map(({ plan, ends, numbers }) => {
      let at = 0;
      for (const [index, each] of [...plan.tags, ...plan.manifests].entries()) {
        const end = ends[index] ?? at;
        each.bytes = this.#blobs.sumExclusive(numbers.subarray(at, end));
        at = end;
      }
      return plan;
    });
  }
}

function planRepository(scan: RepositoryScan, decision: RepositoryDecision, all: boolean): OpenPlan {
  const tags = decision.tags.filter(({ goes }) => goes || all).sort(inOrder);
  const manifests = decision.manifests.filter(({ goes }) => goes);
  const going = decision.tags.filter(({ goes }) => goes).length;
  // One text for a digest that both a tag and a manifest have.
  const texts = new Map(manifests.map(({ manifest: { digest } }) => [digest, digest]));
  return {
    name: scan.name,
    tags: tags.map(({ tag, goes, rule, why, pulledMs }) => ({
      ...{ tag: tag.name, digest: texts.get(tag.digest ?? '') ?? tag.digest, goes, rule, why },
      ...{ pushedMs: tag.pushedMs, pulledMs, bytes: 0 },
    })),
    manifests: manifests.map(({ manifest, isOfTag, pulledMs, untaggedMs }) => ({
      ...{ digest: manifest.digest, isOfTag, pushedMs: manifest.linkMtimeMs, pulledMs },
      ...{ untaggedMs: untaggedMs ?? 0, bytes: 0 },
    })),
    links: decision.links.length,
    stays: {
      tags: decision.tags.length - going,
      manifests: decision.manifests.length - manifests.length,
    },
  };
}

/** Those that go first, then the latest push first. */
function inOrder(one: DecidedTag, other: DecidedTag): number {
  return (
    Number(other.goes) - Number(one.goes) ||
    other.tag.pushedMs - one.tag.pushedMs ||
    (one.tag.name < other.tag.name ? -1 : 1)
  );
}
