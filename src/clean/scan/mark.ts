import type { LayerScan, ManifestScan, RepositoryScan, StoredContent } from './scan-types.ts';

/** What must stay in a repository. */
export type RepositoryMark = {
  /** Whether everything must, because something in it could not be read. */
  readonly keepsAll: boolean;
  keepsManifest(manifest: Pick<ManifestScan, 'digest' | 'linkedAs'>): boolean;
  keepsLayer(layer: Pick<LayerScan, 'digest' | 'linkedAs'>): boolean;
  /** Whether a tag such as `sha256-<hex>.sig` stays, because what it is about does. */
  keepsSubjectTag(tag: string): boolean;
};

/** referrers tag schema (distribution-spec) and cosign: an algorithm and up to 64 digits, then anything. */
const subjectTag = /^(sha256|sha384|sha512)-([0-9a-f]{64})(?![0-9a-f])/;

/** The beginning of the digest that a tag such as `sha256-<hex>.sig` is about; null: it is another tag. */
export function subjectOfTag(tag: string): string | null {
  const match = subjectTag.exec(tag);
  return match === null ? null : `${match[1]}:${match[2]}`;
}

/**
 * Finds what must stay in a repository if these manifests do: what they name, and what is about them (referrers, and
 * manifests under tags such as `sha256-<hex>`), and so on.
 * @param kept digests; those that the repository does not have do no harm.
 */
export function markRepository(scan: RepositoryScan, kept: Iterable<string>): RepositoryMark {
  return createMarker(scan)(kept);
}

/** The same for several questions about one repository. */
export function createMarker(scan: RepositoryScan): (kept: Iterable<string>) => RepositoryMark {
  const keepsAll =
    scan.faults.some(({ keeps }) => keeps !== 'itself') ||
    scan.tags.some(({ digest }) => digest === null) ||
    scan.manifests.some(({ content }) => content === null);
  const references = readReferences(scan);
  return (kept) => mark(references, kept, keepsAll);
}

type References = ReturnType<typeof readReferences>;

function mark(
  { contents, targets, dependents }: References,
  kept: Iterable<string>,
  keepsAll: boolean,
): RepositoryMark {
  const live = new Set<string>();
  const starts = new Set<string>();
  const waiting = [...kept];
  for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
    if (live.has(digest)) continue;
    live.add(digest);
    const start = startOf(digest);
    if (start !== digest) starts.add(start);
    for (const next of contents.get(digest)?.named ?? []) waiting.push(next);
    for (const next of dependents.get(digest) ?? []) waiting.push(next);
    if (start !== digest) for (const next of dependents.get(start) ?? []) waiting.push(next);
    for (const next of targets.get(digest) ?? []) waiting.push(next);
  }
  const isLive = ({ digest, linkedAs }: Pick<LayerScan, 'digest' | 'linkedAs'>) =>
    keepsAll || live.has(digest) || live.has(linkedAs);
  return {
    keepsAll,
    keepsManifest: isLive,
    keepsLayer: isLive,
    keepsSubjectTag: (tag) => {
      const subject = subjectOfTag(tag) ?? '';
      return keepsAll || live.has(subject) || starts.has(subject);
    },
  };
}

/** As much of a digest as a tag can say. */
export function startOf(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 65);
}

function readReferences({ tags, manifests, layers, namedBlobs }: RepositoryScan) {
  const contents = new Map<string, StoredContent>();
  /** The digests by which the same data can be found. */
  const targets = new Map<string, string[]>();
  /** By the digest, or its beginning: what is about it. */
  const dependents = new Map<string, string[]>();
  for (const { digest, linkedAs, content } of manifests) {
    if (content === null) continue;
    contents.set(digest, content).set(linkedAs, content);
    if (content.subject !== null) add(dependents, content.subject, digest);
  }
  for (const { digest, content } of namedBlobs) contents.set(digest, content);
  for (const { digest, linkedAs } of [...manifests, ...layers]) {
    if (digest === linkedAs) continue;
    add(targets, linkedAs, digest);
    add(targets, digest, linkedAs);
  }
  for (const { name, digest } of tags) {
    const subject = subjectOfTag(name);
    if (subject !== null && digest !== null) add(dependents, subject, digest);
  }
  return { contents, targets, dependents };
}

function add(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
