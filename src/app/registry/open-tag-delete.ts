import { join } from 'node:path';
import type { Logger } from 'pino';
import type { AnswerCache } from '../../cache/answer-cache.ts';
import type { Config } from '../../config/schema/schema.ts';
import { readContentDigest } from '../../pipeline/serve/content-digest.ts';
import { manifestTypes } from '../../pipeline/serve/internal-request.ts';
import { withDeleteLock, type DeleteLock } from '../../pipeline/tag-delete/delete-lock.ts';
import { createRemovalFinisher, type RemovalFinisher } from '../../pipeline/tag-delete/removal-finisher.ts';
import { createRemovalJournal } from '../../pipeline/tag-delete/removal-journal.ts';
import { createTagRemoval, type TagRemoval } from '../../pipeline/tag-delete/tag-removal.ts';
import { createTombstoneSource } from '../../pipeline/tag-delete/tombstone-source.ts';
import type { RegistryPorts } from '../../pipeline/routes/route-ports.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import { OciError } from '../../registry/error.ts';

/** The result of {@link OpenTagDelete.removeTag}; `why`: in a sentence, if it failed. */
export type TagRemovalOutcome = {
  readonly outcome: 'removed' | 'absent' | 'immutable' | 'failed';
  readonly why: string;
};

type TagToRemove = {
  readonly repository: string;
  readonly tag: string;
  /** What it must lead to; null: anything. */
  readonly digest: string | null;
};

export type OpenTagDelete = {
  readonly prepare: TagRemoval['prepare'];
  readonly remove: TagRemoval['remove'];
  /** Removes a tag on behalf of the clean-up. Never rejects. */
  readonly removeTag: (wish: TagToRemove) => Promise<TagRemovalOutcome>;
  /** Finishes what was interrupted before, for a bounded time; what is left is tried again later. */
  finish(): Promise<void>;
  close(): void;
};

export type TagDeleteOptions = {
  readonly config: Config;
  /** The URL of the registry. */
  readonly registry: string;
  /** A whole Authorization value for it; null for none. */
  readonly authorization: string | null;
  readonly ports: Pick<RegistryPorts, 'requestUpstream' | 'deletes'>;
  /** Null: nothing is cached. */
  readonly cache: Pick<AnswerCache, 'announceWrite'> | null;
  /** Counts the writes; null: nobody asks. */
  readonly leases: DeleteLock['leases'];
  readonly logger: Logger;
};

/** How long the start waits for removals that were interrupted, in milliseconds. */
const startLimitMs = 2000;

/** Opens the removal of tags at a registry. */
export function openTagDelete(options: TagDeleteOptions): OpenTagDelete {
  const { config, registry, authorization, ports, cache, leases, logger } = options;
  const { immutableTags, limits, state } = config;
  const immutable = immutableTags.map(parseTagPattern);
  const journal = createRemovalJournal(join(state.dir, 'removals'));
  const headers = {
    'User-Agent': 'tidegate',
    Accept: manifestTypes,
    ...(authorization === null ? {} : { Authorization: authorization }),
  };
  const lock = {
    ...{ locks: ports.deletes.locks, leases },
    ...{ waitMs: limits.deleteWait, maxWaiting: limits.deleteQueue },
  };
  const closing = new AbortController();
  let finisher: RemovalFinisher | null = null;
  const { prepare, remove, finish } = createTagRemoval({
    requestUpstream: ports.requestUpstream,
    tombstones: createTombstoneSource(),
    unfinished: () => finisher?.soon(),
    ...{ journal, registry, logger },
  });
  finisher = createRemovalFinisher({ journal, finish, lock, registry, headers, logger });
  const { run } = finisher;

  /** Whether it leads elsewhere than it should. */
  const hasMoved = async (
    asked: { rawTarget: string; headers: Record<string, string> },
    digest: string | null,
    signal: AbortSignal,
  ): Promise<boolean> => {
    if (digest === null) return false;
    const answer = await ports.requestUpstream({ ...asked, method: 'HEAD' }, { maxBytes: 0, signal });
    return answer?.status === 200 && readContentDigest(answer.rawHeaders) !== digest;
  };
  const removeAlone = async ({ repository, tag, digest }: TagToRemove): Promise<TagRemovalOutcome> => {
    const asked = { rawTarget: `/v2/${repository}/manifests/${tag}`, headers };
    await prepare();
    const ended = await withDeleteLock(lock, repository, closing.signal, async (signal) => {
      if (await hasMoved(asked, digest, signal)) return 'moved';
      const written = await cache?.announceWrite({ scope: `v2:${repository}`, items: [tag] });
      try {
        return await remove({ repository, tag }, asked, headers, signal);
      } finally {
        await written?.end();
      }
    });
    if (ended === 'moved') return failed('it was pushed anew meanwhile');
    if (typeof ended === 'string') return failed(`the repository is busy (${ended}); try again later`);
    switch (ended.kind) {
      case 'removed':
      case 'absent':
        return { outcome: ended.kind, why: '' };
      case 'unsupported':
        return failed('the registry does not allow deletes');
      case 'answered': {
        const { status } = ended.answer;
        if (status === 404) return { outcome: 'absent', why: '' };
        return status < 300 ? { outcome: 'removed', why: '' } : failed(`the registry answered ${status}`);
      }
    }
  };

  return {
    ...{ prepare, remove },
    removeTag: async (wish) => {
      const { repository, tag } = wish;
      const index = immutable.findIndex((pattern) => pattern.matches(repository, tag));
      if (index !== -1)
        return { outcome: 'immutable', why: `pattern ${index + 1} of immutableTags keeps it` };
      try {
        return await removeAlone(wish);
      } catch (error) {
        return failed(error instanceof OciError ? error.message : String(error));
      }
    },
    finish: () => run(startLimitMs),
    close: () => {
      closing.abort();
      finisher.close();
    },
  };
}

function failed(why: string): TagRemovalOutcome {
  return { outcome: 'failed', why };
}
