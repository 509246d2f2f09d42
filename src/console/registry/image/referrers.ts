import { toForeignText, shorten } from '../foreign-text.ts';
import { parseForeignObject, readList, readText } from '../foreign-json.ts';
import { showPairs } from './image-config.ts';
import { findKind, readDescriptor, type Descriptor, type Manifest } from './manifest.ts';
import type { ManifestKind, Referrer, ShortList } from '../models.ts';

const maxReferrers = 30;

/** The beginning of the tags that hold what is about a digest. */
export function attachedTagOf(digest: string): string {
  return digest.replace(':', '-');
}

/** The suffixes of cosign's tags, and what they hold. */
export const cosignTags: readonly (readonly [suffix: string, kind: Referrer['kind']])[] = [
  ['.sig', 'signature'],
  ['.att', 'attestation'],
  ['.sbom', 'sbom'],
];

/** Reads the list that answers for referrers; null: it is none. */
export function parseReferrers(body: Buffer): ShortList<Referrer> | null {
  const fields = parseForeignObject(body);
  if (!Array.isArray(fields?.['manifests'])) return null;
  return shorten(readList(fields['manifests']), maxReferrers, (item) => {
    const descriptor = readDescriptor(item);
    return descriptor === null ? null : showReferrer(descriptor);
  });
}

/** What is about a manifest, as its own manifest tells. */
export function describeReferrer(digest: string, manifest: Manifest, bytes: number | null): Referrer {
  const [layer] = manifest.layers;
  const predicate = layer === undefined ? null : readText(layer.annotations['in-toto.io/predicate-type']);
  return {
    digest,
    kind: toReferrerKind(manifest.kind),
    artifactType: toForeignText(predicate ?? layer?.mediaType ?? manifest.mediaType),
    bytes,
    annotations: showPairs(manifest.annotations),
  };
}

/** The same where its manifest was not read. */
export function showReferrer(descriptor: Descriptor, kind?: Referrer['kind']): Referrer {
  const type = descriptor.artifactType ?? descriptor.mediaType;
  return {
    digest: descriptor.digest,
    kind: kind ?? toReferrerKind(findKind(type, null, [])),
    artifactType: toForeignText(type),
    bytes: descriptor.bytes,
    annotations: showPairs(descriptor.annotations),
  };
}

export function toReferrerKind(kind: ManifestKind): Referrer['kind'] {
  return kind === 'signature' || kind === 'sbom' || kind === 'attestation' ? kind : 'other';
}

/** One list of several, each statement once. */
export function joinReferrers(lists: readonly ShortList<Referrer>[]): ShortList<Referrer> {
  const byKey = new Map<string, Referrer>();
  for (const referrer of lists.flatMap(({ items }) => items)) {
    const key = `${referrer.digest} ${referrer.artifactType.text}`;
    if (!byKey.has(key)) byKey.set(key, referrer);
  }
  const more = lists.reduce((sum, list) => sum + list.more, 0);
  const joined = shorten([...byKey.values()], maxReferrers, (referrer) => referrer);
  return { items: joined.items, more: joined.more + more };
}
