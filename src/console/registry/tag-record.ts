/** What the record knows of a tag. */
export type KnownTag = {
  readonly tag: string;
  readonly digest: string | null;
  readonly bytes: number | null;
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
};

/** What is known of tags from elsewhere than the registry. */
export type TagRecord = {
  /** Of these tags of a repository those that are known. */
  tags(repository: string, tags: readonly string[]): Promise<readonly KnownTag[]>;
  /** The tags of a digest, as far as they are known; null: nothing is. */
  tagsOf(repository: string, digest: string): Promise<readonly string[] | null>;
};
