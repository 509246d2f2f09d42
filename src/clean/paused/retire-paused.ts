import type { Logger } from 'pino';
import { countsOfWrite } from '../../registry/write-counts.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { Doors, MergedEvidence } from '../channel/doors.ts';
import { readMark, type PlannedRepository, type WriteMark } from './plan-paused.ts';

export type RetireOptions = {
  readonly doors: Pick<Doors, 'lock' | 'evidence' | 'removeTag'>;
  readonly graceMs: number;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly signal: AbortSignal;
  readonly now: () => number;
};

export type Retired = {
  readonly tags: number;
  readonly manifests: number;
  /** Why something was left for the next run, in sentences. */
  readonly left: readonly string[];
};

/** How long a lock is waited for: longer holds up who pushes and pulls there, in milliseconds. */
const lockWaitMs = 50;
const lockTries = 40;

/**
 * Retires what a plan says of one repository: manifests by digest, each under a lock, and the tags whose manifest stays.
 * Nothing, once somebody else has written there since the plan.
 */
export async function retireRepository(plan: PlannedRepository, options: RetireOptions): Promise<Retired> {
  const { doors, logger, signal } = options;
  const { name: repository } = plan;
  const left: string[] = [];
  const gone = new Set<string>();
  let tags = 0;
  const leave = (why: string) => left.push(`${repository}: ${why}`);

  const stays = new Set<string>();
  for (const { digest } of plan.manifests) {
    signal.throwIfAborted();
    // A part of what stays stays.
    const outcome = stays.has(digest) ? 'in use' : await deleteManifest(plan, digest, options);
    if (outcome === 'deleted') {
      gone.add(digest);
      logger.info({ what: 'manifest', repository, digest }, 'taken');
      continue;
    }
    stays.add(digest);
    for (const named of plan.manifestsKnown.get(digest)?.named ?? []) stays.add(named);
    if (outcome === 'in use') continue;
    leave(sentences[outcome]);
    return { tags: countTags(), manifests: gone.size, left };
  }

  // Each removal is a write as well.
  let { writes } = plan;
  for (const { tag, digest, goes } of plan.tags) {
    if (!goes || gone.has(digest)) continue;
    signal.throwIfAborted();
    const evidence = await doors.evidence(questionAbout(plan, digest));
    if (!isSame(readMark(evidence), writes)) {
      leave(sentences.written);
      break;
    }
    if (isInUse(evidence, options)) continue;
    const { outcome, why } = await doors.removeTag({ repository, tag, digest });
    if (outcome === 'removed') {
      tags += 1;
      logger.info({ what: 'tag', repository, tag, digest }, 'taken');
    } else if (outcome !== 'absent') leave(`the tag ${tag} stays: ${why}`);
    if (outcome !== 'immutable') writes = { ...writes, count: writes.count + countsOfWrite };
  }
  return { tags: countTags(), manifests: gone.size, left };

  function countTags(): number {
    return tags + plan.tags.filter(({ digest }) => gone.has(digest)).length;
  }
}

type Outcome = 'deleted' | 'in use' | 'written' | 'busy' | 'unknown';

const sentences = {
  written: 'something was written there meanwhile',
  busy: 'it was in use without a break',
  unknown: 'the registry did not say whether it deleted a manifest',
} as const;

async function deleteManifest(
  plan: PlannedRepository,
  digest: string,
  options: RetireOptions,
): Promise<Outcome> {
  const { doors, signal } = options;
  const { name: repository, writes } = plan;
  for (let tries = 0; tries < lockTries; tries++) {
    signal.throwIfAborted();
    const lock = await doors.lock([repository], lockWaitMs);
    if (lock === null) continue;
    try {
      const evidence = await doors.evidence({ ...questionAbout(plan, digest), lock });
      if (!evidence.held) continue;
      if (!isSame(readMark(evidence), writes)) return 'written';
      if (isInUse(evidence, options)) return 'in use';
      const status = await lock.deleteManifest(repository, digest);
      if (status === 202 || status === 404) return 'deleted';
      if (status === null) return 'unknown';
      throw new OperatorError(
        `The registry answers ${status} to the delete of ${digest} in ${repository}${status === 405 ? ': allow deletes in its configuration (storage.delete.enabled)' : ''}.`,
      );
    } finally {
      await lock.release();
    }
  }
  return 'busy';
}

/** A client that takes no index was told of a manifest in it. */
function questionAbout({ name, manifestsKnown }: PlannedRepository, digest: string) {
  return { repositories: [name], digests: [digest, ...(manifestsKnown.get(digest)?.manifests ?? [])] };
}

function isInUse({ leases }: MergedEvidence, { graceMs, now }: RetireOptions): boolean {
  return leases.some((lease) => now() - lease < graceMs);
}

function isSame(one: WriteMark, other: WriteMark): boolean {
  return one.epoch === other.epoch && one.count === other.count;
}
