import type { ManifestContent } from '../../registry/manifest-content.ts';

/** What a scan found in one repository. Times are milliseconds since the epoch. */
export type RepositoryScan = {
  readonly name: string;
  readonly tags: readonly TagScan[];
  readonly manifests: readonly ManifestScan[];
  readonly layers: readonly LayerScan[];
  /** Blobs that a manifest or tag names as manifests, and that are none of the repository's. */
  readonly namedBlobs: readonly NamedBlobScan[];
  readonly faults: readonly ScanFault[];
  /** When a tag was last created or removed; null: there is no folder for tags. */
  readonly tagsFolderMtimeMs: number | null;
};

export type TagScan = {
  readonly name: string;
  /** Null: unreadable, so it may lead to any manifest of the repository. */
  readonly digest: string | null;
  readonly pushedMs: number;
};

/** A link to a manifest, and its data. */
export type ManifestScan = {
  /** The link's content. */
  readonly digest: string;
  /** The name of the link's folder, by which the registry finds it; another one than `digest` only in odd storages. */
  readonly linkedAs: string;
  /** False: `digest` is only the folder's name, and the link must stay. */
  readonly isReadable: boolean;
  readonly linkMtimeMs: number;
  /** Null: the data is missing. */
  readonly dataMtimeMs: number | null;
  readonly bytes: number | null;
  /** Null: unreadable, so it may name everything in the repository. */
  readonly content: StoredContent | null;
  /**
   * When the last of the tags that still exist and once led to it was moved away from it, at the latest; null: none
   * was.
   */
  readonly lostTagMs: number | null;
};

export type StoredContent = ManifestContent & { readonly subject: string | null };

/** A link to a blob. */
export type LayerScan = {
  /** The link's content. docker-registry stores an upload by `sha512:` under its sha256, with a link of either name. */
  readonly digest: string;
  /** The name of the link's folder, by which the registry finds it. */
  readonly linkedAs: string;
  /** False: `digest` is only the folder's name, and the link must stay. */
  readonly isReadable: boolean;
  readonly linkMtimeMs: number;
};

export type NamedBlobScan = {
  /** As it is named. */
  readonly digest: string;
  readonly content: StoredContent;
};

/** Something that could not be read, or is not as a registry leaves it. */
export type ScanFault = {
  /** Below the registry's root directory. */
  readonly path: string;
  readonly why: string;
  /**
   * What must be kept because of it. `itself`: only what its name says. `repository`: everything in the repository.
   * `storage`: that too, and all data, since links may have been missed.
   */
  readonly keeps: 'itself' | 'repository' | 'storage';
};

export type ScanProgress = { readonly repositories: number; readonly links: number };
