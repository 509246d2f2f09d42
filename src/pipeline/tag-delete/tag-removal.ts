import type { Logger } from 'pino';
import { OciError } from '../../registry/error.ts';
import { tombstoneType, type Tombstone } from '../../registry/tombstone.ts';
import type { Fetched, InternalRequest, RequestUpstream } from '../../upstream/request.ts';
import type { NotedRemoval, RemovalJournal } from './removal-journal.ts';
import type { TombstoneSource } from './tombstone-source.ts';

/** How the removal of a tag ended. */
export type RemovalEnd =
  /** The registry deletes tags itself, or refused to; this is its answer. */
  | { readonly kind: 'answered'; readonly answer: Fetched }
  | { readonly kind: 'removed' }
  | { readonly kind: 'absent' }
  /** The registry deletes nothing. */
  | { readonly kind: 'unsupported' };

/**
 * Removes tags at a registry, and no twin of theirs. Its caller holds the repository's delete lock, and ends `signal`
 * when that may be lost.
 */
export type TagRemoval = {
  /** Resolves when all is at hand that takes long: call it before the lock is taken. */
  readonly prepare: () => Promise<void>;
  /**
   * @param asked the request as the client made it, for a registry that deletes tags itself
   * @param headers the fields of Tidegate's own requests
   * @throws OciError when it is not known how it ended: the tag is as it was, or gone, and `unfinished` was called
   */
  readonly remove: (
    place: { readonly repository: string; readonly tag: string },
    asked: Pick<InternalRequest, 'rawTarget' | 'headers'>,
    headers: InternalRequest['headers'],
    signal: AbortSignal,
  ) => Promise<RemovalEnd>;
  /** Brings one that is noted to its end. @throws OciError when it did not succeed */
  readonly finish: (
    removal: NotedRemoval,
    headers: InternalRequest['headers'],
    signal: AbortSignal,
  ) => Promise<void>;
};

export type TagRemovalOptions = {
  /** Must not wait for the delete lock. */
  readonly requestUpstream: RequestUpstream;
  readonly journal: RemovalJournal;
  readonly tombstones: TombstoneSource;
  /** The URL of the registry. */
  readonly registry: string;
  /** Called when a removal was noted and did not end. */
  readonly unfinished: () => void;
  readonly logger: Pick<Logger, 'error'>;
};

/** The largest answer that is read, in bytes: one to a delete is short. */
const maxAnswerBytes = 64 * 1024;

export function createTagRemoval(options: TagRemovalOptions): TagRemoval {
  const { journal, tombstones, registry, unfinished, logger } = options;
  let deletesTags = false;

  const ask = async (asked: InternalRequest, signal: AbortSignal): Promise<Fetched> => {
    const answer = await options.requestUpstream(asked, { maxBytes: maxAnswerBytes, signal });
    if (answer === null)
      throw new OciError('BAD_GATEWAY', 'The registry gave a very long answer to a delete.');
    return answer;
  };
  const openManifests =
    (repository: string, headers: InternalRequest['headers'], signal: AbortSignal) =>
    async (method: 'HEAD' | 'PUT' | 'DELETE', reference: string, body?: Buffer): Promise<number> => {
      const rawTarget = `/v2/${repository}/manifests/${reference}`;
      const own = body ? { headers: { ...headers, 'Content-Type': tombstoneType }, body } : { headers };
      return (await ask({ method, rawTarget, ...own }, signal)).status;
    };
  type Manifests = ReturnType<typeof openManifests>;

  const note: RemovalJournal['note'] = (removal) =>
    journal.note(removal).catch((error: unknown) => {
      logger.error({ err: error }, 'a removal of a tag cannot be noted in state.dir: nothing was deleted');
      throw new OciError(
        'UNAVAILABLE',
        'Nothing was deleted: Tidegate cannot write to its state.dir, where it notes each removal of a tag.',
        { cause: error },
      );
    });

  /** Whether the registry deletes manifests: asked about one that it does not have, it says so. */
  const deletesManifests = async (manifests: Manifests, { digest }: Tombstone): Promise<boolean> => {
    const status = await manifests('DELETE', digest);
    if (status === 405) return false;
    if (status === 404 || status === 202) return true;
    throw unexpected('to delete a manifest', status);
  };

  const replace = async (
    manifests: Manifests,
    place: { readonly repository: string; readonly tag: string },
  ): Promise<RemovalEnd> => {
    const found = await manifests('HEAD', place.tag);
    if (found === 404) return { kind: 'absent' };
    if (found !== 200) throw unexpected(`what ${place.repository}:${place.tag} names`, found);
    const tombstone = await tombstones.take();
    if (!(await deletesManifests(manifests, tombstone))) return { kind: 'unsupported' };
    await note({ ...place, registry, tombstone });
    try {
      const put = await manifests('PUT', place.tag, tombstone.body);
      if (put >= 400 && put < 500) {
        await journal.forget(tombstone.digest);
        throw unexpected('to move the tag away', put);
      }
      if (put !== 201) throw unexpected('to move the tag away', put);
      const deleted = await manifests('DELETE', tombstone.digest);
      if (deleted !== 202) throw unexpected('to delete what the tag was moved to', deleted);
    } catch (error) {
      unfinished();
      throw error;
    }
    // Noted for longer than needed, it only is brought to its end again.
    await journal.forget(tombstone.digest).catch(unfinished);
    return { kind: 'removed' };
  };

  return {
    prepare: () => (deletesTags ? Promise.resolve() : tombstones.prepare()),
    remove: async (place, asked, headers, signal) => {
      const answer = await ask({ ...asked, method: 'DELETE' }, signal);
      // distribution-spec, "Deleting tags": 400 or 405 where that is disabled.
      deletesTags = answer.status !== 400 && answer.status !== 405;
      if (deletesTags) return { kind: 'answered', answer };
      return replace(openManifests(place.repository, headers, signal), place);
    },
    finish: async ({ repository, tombstone }, headers, signal) => {
      const manifests = openManifests(repository, headers, signal);
      const deleted = await manifests('DELETE', tombstone.digest);
      if (deleted === 202) return;
      if (deleted !== 404) throw unexpected('to delete a manifest', deleted);
      // A registry that stopped halfway has the tag and no manifest, and then a delete does not find the tag. Written only
      // then: the registry answers 500 to those who read the tag meanwhile.
      const put = await manifests('PUT', tombstone.digest, tombstone.body);
      if (put !== 201) throw unexpected('to take a manifest', put);
      const again = await manifests('DELETE', tombstone.digest);
      // 404: it only remembers the manifest, whose file is gone.
      if (again !== 202 && again !== 404) throw unexpected('to delete a manifest', again);
    },
  };
}

function unexpected(what: string, status: number): OciError {
  return new OciError('BAD_GATEWAY', `The registry was asked ${what}, and answered ${status}.`);
}
