import { shorten, toForeignText } from '../foreign-text.ts';
import { readText } from '../foreign-json.ts';
import { choosePlatform, findKind, type Manifest } from './manifest.ts';
import type { Referrer, ShortList } from '../models.ts';
import { readManifest, sumManifests, type ReadManifest } from './read-manifest.ts';
import { readSeveral } from '../read-several.ts';
import {
  attachedTagOf,
  cosignTags,
  describeReferrer,
  joinReferrers,
  parseReferrers,
  toReferrerKind,
} from './referrers.ts';
import type { RegistryClient } from '../registry-client.ts';

/** A list of referrers, and each manifest about another one. */
const maxListBytes = 1024 * 1024;
const maxStatements = 10;

const none: ShortList<Referrer> = { items: [], more: 0 };

/**
 * Reads what is about a manifest: what the registry lists, or by the tag that clients keep where it cannot list (distribution-spec,
 * "Referrers Tag Schema"), cosign's tags, and BuildKit's attestations of the platform that is looked at. Null: it is not known.
 */
export async function readReferrers(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  platform: string | null,
): Promise<ShortList<Referrer> | null> {
  try {
    const lists = await Promise.all([
      readListed(client, repository, found.digest),
      ...cosignTags.map(([suffix, kind]) => readCosign(client, repository, found.digest + suffix, kind)),
      readAttestations(client, repository, found.manifest, platform),
    ]);
    return joinReferrers(lists);
  } catch {
    return null; // the page says that they are not known, and shows the image
  }
}

async function readListed(
  client: RegistryClient,
  repository: string,
  digest: string,
): Promise<ShortList<Referrer>> {
  const path = `/v2/${repository}/referrers/${digest}`;
  const answer = await client.ask('GET', path, { maxBytes: maxListBytes });
  const listed = answer.status === 200 ? parseReferrers(answer.body) : null;
  if (listed !== null) return listed;
  const byTag = await readManifest(client, repository, attachedTagOf(digest), maxListBytes);
  return (byTag === null ? null : parseReferrers(byTag.body)) ?? none;
}

async function readCosign(
  client: RegistryClient,
  repository: string,
  digestAndSuffix: string,
  kind: Referrer['kind'],
): Promise<ShortList<Referrer>> {
  const found = await readManifest(client, repository, attachedTagOf(digestAndSuffix), maxListBytes);
  if (found === null) return none;
  const { digest, manifest } = found;
  return { items: [{ ...describeReferrer(digest, manifest, sumManifests([found])), kind }], more: 0 };
}

/** One for each statement in the attestations, as each is about something else: an SBOM, how it was built. */
async function readAttestations(
  client: RegistryClient,
  repository: string,
  index: Manifest,
  wanted: string | null,
): Promise<ShortList<Referrer>> {
  const shown = choosePlatform(index.platforms, wanted)?.digest;
  const about = index.attestations.filter((each) => each.about === shown).slice(0, maxStatements);
  const found = await readSeveral(about, ({ descriptor: { digest } }) =>
    readManifest(client, repository, digest, maxListBytes),
  );
  return joinReferrers(found.map((each) => (each === null ? none : describeStatements(each))));
}

function describeStatements({ digest, manifest }: ReadManifest): ShortList<Referrer> {
  return shorten(manifest.layers, maxStatements, (layer): Referrer => {
    const predicate = readText(layer.annotations['in-toto.io/predicate-type']);
    return {
      digest,
      kind: toReferrerKind(findKind(predicate, null, [layer])),
      artifactType: toForeignText(predicate ?? layer.mediaType),
      bytes: layer.bytes,
      annotations: { items: [], more: 0 },
    };
  });
}
