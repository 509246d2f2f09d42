import { LRUCache } from 'lru-cache';

/** The contents of a manifest, which never change: its digest is that of its bytes. */
export type KnownManifest = {
  /** Its own digests: those of its bytes, and what the registry calls it. */
  readonly digests: readonly string[];
  /** The digests that it names. */
  readonly named: readonly string[];
  /** Those of them that are followed, if they are manifests. */
  readonly manifests: readonly string[];
};

/** Remembers what manifests name, and what tags named last, but never whether any of it exists. Bounded in bytes. */
export type KnownContents = {
  find(digest: string): KnownManifest | undefined;
  /** @param digests the verified digests of its bytes */
  add(manifest: KnownManifest, digests: readonly string[]): void;
  /** What the tag named at the last lookup: only a hint of what to look up. */
  lastDigest(repository: string, tag: string): string | undefined;
  noteTag(repository: string, tag: string, digest: string): void;
};

/** The overhead of an entry besides its texts, and of a text besides its characters, in bytes; estimated, not measured. */
const entryBytes = 300;
const textBytes = 32;

type Entry = KnownManifest | string;

export function createKnownContents(maxBytes: number): KnownContents {
  // A tag's key has a space, as no digest does.
  const entries = new LRUCache<string, Entry>({ maxSize: maxBytes, sizeCalculation: sizeOf });
  return {
    find: (digest) => {
      const entry = entries.get(digest);
      return typeof entry === 'string' ? undefined : entry;
    },
    add: (manifest, digests) => {
      for (const digest of digests) entries.set(digest, manifest);
    },
    lastDigest: (repository, tag) => {
      const entry = entries.get(`${repository} ${tag}`);
      return typeof entry === 'string' ? entry : undefined;
    },
    noteTag: (repository, tag, digest) => entries.set(`${repository} ${tag}`, digest),
  };
}

function sizeOf(entry: Entry, key: string): number {
  const texts = typeof entry === 'string' ? [entry] : [...entry.digests, ...entry.named, ...entry.manifests];
  return texts.reduce((sum, text) => sum + text.length + textBytes, entryBytes + key.length);
}
