import { LRUCache } from 'lru-cache';

/** What is known of a manifest, which no time can change: its digest is that of its bytes. */
export type KnownManifest = {
  /** Its own digests: those of its bytes, and what the registry calls it. */
  readonly digests: readonly string[];
  /** The digests that it names. */
  readonly named: readonly string[];
  /** Those of them that are looked into, if they are manifests. */
  readonly manifests: readonly string[];
};

/** Remembers what manifests name, and what tags named last; never whether any of it is there. Bounded in bytes. */
export type KnownContents = {
  find(digest: string): KnownManifest | undefined;
  /** @param digests those that its bytes have been seen to have */
  add(manifest: KnownManifest, digests: readonly string[]): void;
  /** What the tag named when it was last asked for: only a hint of what to ask. */
  lastDigest(repository: string, tag: string): string | undefined;
  noteTag(repository: string, tag: string, digest: string): void;
};

/** What an entry takes besides its texts, and a text besides its characters, in bytes; estimated, not measured. */
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
