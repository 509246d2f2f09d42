/** A platform as people write it: `linux/arm64/v8`. */
export type Platform = string;

/** Text that others wrote, cut at 1 KB. */
export type ForeignText = { readonly text: string; readonly isCut: boolean };

/** The first of a list that may be longer: so many more are not in `items`. */
export type ShortList<T> = { readonly items: readonly T[]; readonly more: number };

/** A name and a value that others wrote: a label, an annotation. */
export type ForeignPair = readonly [name: ForeignText, value: ForeignText];

/**
 * What a manifest is. `signature`, `attestation`, `sbom`: it is about another one; `schema1`: Docker's format of before 2016, whose
 * layers say nothing of their sizes.
 */
export type ManifestKind =
  'image' | 'index' | 'chart' | 'signature' | 'attestation' | 'sbom' | 'artifact' | 'schema1' | 'unknown';

/** A tag in the list of a repository. */
export type TagRow = {
  readonly tag: string;
  /** Null: it was not read, or went while the page was made. */
  readonly digest: string | null;
  /** Bytes of all that it leads to, each part once; null: not known. */
  readonly bytes: number | null;
  readonly platforms: ShortList<Platform>;
  readonly kind: ManifestKind;
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
  /** Other tags of the same digest, on this page or known otherwise. */
  readonly twins: ShortList<string>;
};

export type RepositoryPageModel = {
  readonly repository: string;
  readonly rows: readonly TagRow[];
  /** Tags that match the search. */
  readonly total: number;
  /** Counted from 1. */
  readonly page: number;
  readonly pages: number;
  readonly search: string;
  /** Tags that hold signatures and the like of others, `sha256-<hex>.sig`: they are listed for a search that begins so. */
  readonly attached: number;
};

export type Layer = {
  readonly digest: string;
  readonly mediaType: ForeignText;
  /** Null: the manifest does not say, or lies. */
  readonly bytes: number | null;
  /** The step that made it; null: the history does not say. */
  readonly step: ForeignText | null;
};

/** A step without a layer changed settings only. */
export type HistoryStep = {
  readonly text: ForeignText;
  readonly layer: Layer | null;
  readonly createdMs: number | null;
};

export type ImageConfig = {
  /** As words of a command line. */
  readonly command: ForeignText | null;
  readonly entrypoint: ForeignText | null;
  readonly user: ForeignText | null;
  readonly workingDir: ForeignText | null;
  readonly ports: ShortList<ForeignText>;
  readonly volumes: ShortList<ForeignText>;
  readonly environment: ShortList<ForeignText>;
  readonly labels: ShortList<ForeignPair>;
  readonly createdMs: number | null;
};

/** What a Helm chart says of itself. */
export type Chart = {
  readonly name: ForeignText | null;
  readonly version: ForeignText | null;
  readonly appVersion: ForeignText | null;
  readonly description: ForeignText | null;
};

export type ImageOfPlatform = {
  readonly digest: string;
  /** Null: nothing says which. */
  readonly platform: Platform | null;
  readonly bytes: number | null;
  readonly layers: ShortList<Layer>;
  /** In the order in which they were taken; empty where there is no history. */
  readonly steps: ShortList<HistoryStep>;
  /** Null: it has none, or one that cannot be read. */
  readonly config: ImageConfig | null;
  readonly chart: Chart | null;
};

export type Referrer = {
  readonly digest: string;
  readonly kind: 'signature' | 'sbom' | 'attestation' | 'other';
  readonly artifactType: ForeignText;
  readonly bytes: number | null;
  readonly annotations: ShortList<ForeignPair>;
};

export type PlatformEntry = {
  readonly digest: string;
  /** Null: nothing says which. */
  readonly platform: Platform | null;
  /** Null: not read. */
  readonly bytes: number | null;
};

export type ImageModel = {
  readonly repository: string;
  readonly reference: string;
  readonly digest: string;
  readonly mediaType: ForeignText;
  readonly kind: ManifestKind;
  /** Bytes of all that it leads to, each part once, as in the list of tags; null: not known. */
  readonly bytes: number | null;
  readonly annotations: ShortList<ForeignPair>;
  /** Of an index all platforms; `shown` is the one that is looked at. */
  readonly platforms: ShortList<PlatformEntry>;
  readonly shown: ImageOfPlatform | null;
  /** Null: not known. */
  readonly referrers: ShortList<Referrer> | null;
  /** Other tags of it; null: not known. */
  readonly twins: ShortList<string> | null;
  readonly pushedMs: number | null;
  readonly pushedBy: string | null;
  readonly pulledMs: number | null;
};

/** A manifest as the registry has it. */
export type RawManifestModel = {
  readonly repository: string;
  readonly reference: string;
  readonly digest: string;
  readonly mediaType: ForeignText;
  readonly bytes: number;
  /** Indented; its very bytes where it is no JSON. */
  readonly text: string;
  /** Whether the text ends before the manifest does. */
  readonly isCut: boolean;
};

export type SettingName =
  'command' | 'entrypoint' | 'user' | 'workingDir' | 'port' | 'volume' | 'environment' | 'label';

/** A setting that differs. */
export type ChangedSetting = {
  readonly kind: SettingName;
  /** Of an environment variable or label its name; null for what there is once. */
  readonly name: ForeignText | null;
  /** Null: it is not there. */
  readonly a: ForeignText | null;
  readonly b: ForeignText | null;
};

export type CompareModel = {
  readonly repository: string;
  /** The tags or digests that are compared. */
  readonly a: string;
  readonly b: string;
  readonly digestA: string;
  readonly digestB: string;
  /** Of those that both have the one that is compared; null: neither says. */
  readonly platform: Platform | null;
  /** Those that both have. */
  readonly platforms: ShortList<Platform>;
  readonly shared: ShortList<Layer>;
  readonly onlyA: ShortList<Layer>;
  readonly onlyB: ShortList<Layer>;
  readonly sharedBytes: number | null;
  readonly onlyABytes: number | null;
  readonly onlyBBytes: number | null;
  readonly settings: ShortList<ChangedSetting>;
};
