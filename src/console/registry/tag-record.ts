import type { RepositoryLists } from '../../inventory/repository-lists.ts';
import type { Principal } from '../../registry/principal.ts';

/** What the record knows of a tag. */
export type KnownTag = {
  readonly tag: string;
  readonly digest: string | null;
  readonly bytes: number | null;
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
  /** Some of the other tags of the same digest. */
  readonly twins: readonly string[];
};

/** What is known of tags from elsewhere than the registry. */
export type TagRecord = {
  /** Of these tags of a repository those that are known. */
  tags(repository: string, tags: readonly string[]): Promise<readonly KnownTag[]>;
  /** The tags of a digest, as far as they are known; null: nothing is. */
  tagsOf(repository: string, digest: string): Promise<readonly string[] | null>;
};

/** What the lists of the record say to this principal. */
export function openTagRecord(lists: Pick<RepositoryLists, 'tags'>, principal: Principal): TagRecord {
  return {
    tags: async (repository, names) => (await lists.tags({ principal, repository, of: { names } })) ?? [],
    tagsOf: async (repository, digest) => {
      const tags = await lists.tags({ principal, repository, of: { digest } });
      return tags?.map(({ tag }) => tag) ?? null;
    },
  };
}
