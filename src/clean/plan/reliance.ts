import type { ManifestScan, RepositoryScan } from '../scan/scan-types.ts';

/*
 * What a client may rely on after an answer. Plan and run ask for the leases of the same digests, so that a run takes what
 * its plan names.
 */

/** A tag stays if one of these was answered about: a client that takes no index was told of a manifest in it. */
export function createTagReliance({
  manifests,
}: Pick<RepositoryScan, 'manifests'>): (digest: string) => readonly string[] {
  const children = new Map(manifests.map(({ digest, content }) => [digest, content?.manifests ?? []]));
  return (digest) => [digest, ...(children.get(digest) ?? [])];
}

/** A manifest stays if one of these was: itself, those that it lists, or what it is about. */
export function manifestReliance({ digest, linkedAs, content }: ManifestScan): string[] {
  const digests = [digest, ...(content?.manifests ?? []), ...(content?.subject ? [content.subject] : [])];
  return digest === linkedAs ? digests : [linkedAs, ...digests];
}

/** A link to a blob stays if one of these was. */
export function layerReliance({ digest, linkedAs }: { digest: string; linkedAs: string }): string[] {
  return digest === linkedAs ? [digest] : [digest, linkedAs];
}
