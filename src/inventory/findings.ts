import type { TagKind } from './repository-lists.ts';

/** What a manifest says about itself and what it leads to. */
export type ManifestSummary = {
  readonly kind: TagKind;
  /** Null: not all could be read. */
  readonly bytes: number | null;
  readonly platforms: readonly string[];
};

/** What to read of the registries next. */
export type InventoryWork =
  /** The lists of repositories of all registries, from the beginning. */
  | { readonly read: 'catalogs' }
  | { readonly read: 'tags'; readonly repositories: readonly string[] }
  | { readonly read: 'manifests'; readonly tags: readonly TagToRead[] };

export type TagToRead = {
  readonly repository: string;
  readonly tag: string;
  /** Where it led to when it was last read; null: not known. */
  readonly digest: string | null;
  /** Whether that manifest was read already. */
  readonly isRead: boolean;
};

/** What was found. `askedMs`: when the question was put; what happened later is newer than the answer. */
export type Finding =
  | { readonly found: 'repositories'; readonly names: readonly string[] }
  /** The end of the lists of all registries. */
  | { readonly found: 'end-of-catalogs'; readonly isComplete: boolean }
  | { readonly found: 'tags'; readonly repository: string; readonly names: readonly string[] }
  /** `isComplete` false: the registry lists other tags than it holds. Nothing goes then. */
  | {
      readonly found: 'end-of-tags';
      readonly repository: string;
      readonly askedMs: number;
      readonly isComplete: boolean;
    }
  | { readonly found: 'no-repository'; readonly repository: string; readonly askedMs: number }
  | {
      readonly found: 'manifest';
      readonly repository: string;
      readonly tag: string;
      readonly digest: string;
      /** Null: what was known of this digest is so still. */
      readonly summary: ManifestSummary | null;
      readonly askedMs: number;
    }
  | {
      readonly found: 'no-manifest';
      readonly repository: string;
      readonly tag: string;
      readonly askedMs: number;
    }
  /** There was no answer of use about a tag, or, if it is null, about the list of tags. */
  | { readonly found: 'nothing'; readonly repository: string; readonly tag: string | null };
