import type { ManifestScan } from '../scan/scan-types.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import type { RepositoryDecision } from './repository-decision.ts';

/** The digests that only one tag, or one manifest without a tag, holds in its repository. */
export type ExclusiveBlobs = {
  ofTag(name: string): readonly string[];
  ofManifest(digest: string): readonly string[];
};

/** Marks what several hold. */
const shared = -1;

/**
 * Finds for each tag and each manifest without a tag what only it holds in the repository: manifests, what they name, and
 * referrers. Two tags of one manifest hold nothing alone.
 */
export function findExclusiveBlobs(scan: RepositoryScan, { manifests }: RepositoryDecision): ExclusiveBlobs {
  const read = readContents(scan);
  const owners = new Map<string, number>();
  const holders = new Map<string, number>();
  const hold = (key: string, start: string, isAlone: boolean) => {
    const holder = holders.size;
    holders.set(key, holder);
    for (const digest of reach(start, read))
      owners.set(digest, isAlone && (owners.get(digest) ?? holder) === holder ? holder : shared);
  };
  const tagsOf = new Map<string, string[]>();
  for (const { name, digest } of scan.tags) if (digest !== null) add(tagsOf, digest, name);
  for (const [digest, names] of tagsOf) hold(`tag ${names.join(' ')}`, digest, names.length === 1);
  const untagged = manifests.filter(({ manifest }) => !owners.has(manifest.digest));
  const named = new Set(untagged.flatMap(({ manifest }) => manifest.content?.named ?? []));
  for (const { manifest, goes } of untagged)
    if (!named.has(manifest.digest)) hold(`manifest ${manifest.digest}`, manifest.digest, goes);

  const digests = new Map<number, string[]>();
  for (const [digest, owner] of owners) {
    const list = digests.get(owner);
    if (list === undefined) digests.set(owner, [digest]);
    else list.push(digest);
  }
  const of = (key: string) => digests.get(holders.get(key) ?? shared - 1) ?? [];
  return { ofTag: (name) => of(`tag ${name}`), ofManifest: (digest) => of(`manifest ${digest}`) };
}

type Contents = {
  readonly byDigest: ReadonlyMap<string, ManifestScan>;
  readonly referrers: ReadonlyMap<string, readonly string[]>;
};

function readContents({ manifests }: RepositoryScan): Contents {
  const byDigest = new Map<string, ManifestScan>();
  const referrers = new Map<string, string[]>();
  for (const manifest of manifests) {
    byDigest.set(manifest.digest, manifest);
    if (manifest.linkedAs !== manifest.digest) byDigest.set(manifest.linkedAs, manifest);
    const subject = manifest.content?.subject;
    if (typeof subject === 'string') add(referrers, subject, manifest.digest);
  }
  return { byDigest, referrers };
}

function add(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** Everything that a manifest leads to, but for what it is about. */
function reach(start: string, { byDigest, referrers }: Contents): Set<string> {
  const reached = new Set<string>();
  const waiting = [start];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const manifest = byDigest.get(next);
    const digest = manifest?.digest ?? next;
    if (reached.has(digest)) continue;
    reached.add(digest);
    const { named = [], subject = null } = manifest?.content ?? {};
    for (const other of named) if (other !== subject) waiting.push(other);
    for (const referrer of referrers.get(next) ?? []) waiting.push(referrer);
  }
  return reached;
}
