import { digestForm } from '../../registry/names/digest.ts';
import { tagForm } from '../../registry/names/tag.ts';
import {
  manifestPath,
  readDigestOf,
  readManifest,
  sumManifests,
  type ReadManifest,
} from '../registry/image/read-manifest.ts';
import { readReferrers } from '../registry/image/read-referrers.ts';
import { readSeveral } from '../registry/read-several.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import { readTagNames } from '../registry/tag-names.ts';
import type { TagRecord } from '../registry/tag-record.ts';

/** What is to be deleted: tags alone, or an image with all that leads to it. */
export type DeletionTarget =
  | {
      readonly kind: 'tags';
      readonly tags: readonly {
        readonly tag: string;
        readonly digest: string | null;
        readonly bytes: number | null;
        /** Tags of the same image, which stay; null: not known. */
        readonly twins: readonly string[] | null;
      }[];
    }
  | {
      readonly kind: 'image';
      readonly digest: string;
      readonly bytes: number | null;
      /** All of them go, as far as they are known. */
      readonly tags: readonly string[];
      /** Platforms of an index, which stay as untagged manifests until a clean-up. */
      readonly platforms: readonly string[];
      readonly referrers: number | null;
    };

/** What became of a delete. `unsupported`: the registry deletes nothing (`storage.delete.enabled`). */
export type DeleteResult = 'deleted' | 'gone' | 'denied' | 'unsupported' | 'busy' | 'failed';

/** Tags that one form deletes. */
export const maxTagsAtOnce = 50;
/** Tags that are looked at for those of an image. */
const maxTwinReads = 100;

/** Says what a delete of these tags takes and leaves; null: there is none of them. @throws ConsoleError */
export async function readTagDeletion(
  client: RegistryClient,
  record: TagRecord | null,
  repository: string,
  wanted: readonly string[],
): Promise<DeletionTarget | null> {
  const names = [...new Set(wanted)].filter((tag) => tagForm.test(tag)).slice(0, maxTagsAtOnce);
  const readTwins = await createTagFinder(client, record, repository);
  const read = await readSeveral(names, async (tag) => {
    const found = await readManifest(client, repository, tag);
    if (found === null) return null;
    const twins = await readTwins(found.digest);
    return {
      tag,
      digest: found.digest,
      bytes: bytesOf(found),
      twins: twins?.filter((twin) => !names.includes(twin)) ?? null,
    };
  });
  const tags = read.filter((each) => each !== null);
  return tags.length === 0 ? null : { kind: 'tags', tags };
}

/** Says what a delete of this digest takes; null: there is none. @throws ConsoleError */
export async function readImageDeletion(
  client: RegistryClient,
  record: TagRecord | null,
  repository: string,
  digest: string,
): Promise<DeletionTarget | null> {
  if (!digestForm.test(digest)) return null;
  const found = await readManifest(client, repository, digest);
  if (found === null) return null;
  const [referrers, tags] = await Promise.all([
    readReferrers(client, repository, found, null),
    createTagFinder(client, record, repository).then((readTags) => readTags(digest)),
  ]);
  const { manifest } = found;
  return {
    kind: 'image',
    digest,
    bytes: bytesOf(found),
    tags: tags ?? [],
    platforms: manifest.platforms.flatMap(({ platform }) => platform ?? []),
    referrers: referrers === null ? null : referrers.items.length + referrers.more,
  };
}

/** Null for an index, whose platforms stay. */
function bytesOf(found: ReadManifest): number | null {
  return found.manifest.kind === 'index' ? null : sumManifests([found]);
}

/** Finds the tags that lead to a digest: of few tags all, of more those that the record knows; null: nothing is known. */
async function createTagFinder(
  client: RegistryClient,
  record: TagRecord | null,
  repository: string,
): Promise<(digest: string) => Promise<readonly string[] | null>> {
  const names = (await readTagNames(client, repository)) ?? [];
  if (names.length > maxTwinReads)
    return async (digest) => (await record?.tagsOf(repository, digest)) ?? null;
  const digests = await readSeveral(names, (tag) => readDigestOf(client, repository, tag));
  return (digest) => Promise.resolve(names.filter((_, index) => digests[index] === digest));
}

/** Deletes a tag, and no twin of it, or a digest with all its tags. */
export async function deleteReference(
  client: RegistryClient,
  repository: string,
  reference: string,
): Promise<DeleteResult> {
  if (!tagForm.test(reference) && !digestForm.test(reference)) return 'failed';
  const { status } = await client.ask('DELETE', manifestPath(repository, reference));
  if (status >= 200 && status < 300) return 'deleted';
  switch (status) {
    case 404:
      return 'gone';
    case 401:
    case 403:
      return 'denied';
    case 405:
      return 'unsupported';
    case 429:
    case 503:
      return 'busy';
    default:
      return 'failed';
  }
}
