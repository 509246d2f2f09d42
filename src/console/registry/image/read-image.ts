import { fitForeignTexts, shorten, toForeignText } from '../foreign-text.ts';
import { parseChart, parseImageConfig, showPairs } from './image-config.ts';
import { pairLayers } from './layer-steps.ts';
import { choosePlatform, manifestsOf, type Manifest } from './manifest.ts';
import type { ImageModel, ImageOfPlatform, PlatformEntry } from '../models.ts';
import { readManifest, sumManifests, type ReadManifest } from './read-manifest.ts';
import { readReferrers } from './read-referrers.ts';
import { readSeveral } from '../read-several.ts';
import type { RegistryClient } from '../registry-client.ts';
import type { TagRecord } from '../tag-record.ts';

/** A larger configuration is not shown. */
const maxConfigBytes = 1024 * 1024;
/** Platforms of an index that are read for their sizes. */
const maxPlatforms = 30;
/** Of an index with more, attestations among them, the size is not known without the record. */
const maxManifests = 2 * maxPlatforms;
const maxTwins = 20;
/** Bytes of texts of others on the page of an image. */
const maxForeignBytes = 10 * 1024;

/** What is asked for; `platform`: the digest of one of an index, null for the usual one. */
export type ImageQuestion = {
  readonly repository: string;
  readonly reference: string;
  readonly platform: string | null;
};

/** Reads what the page of an image shows; null: there is none. @throws ConsoleError */
export async function readImage(
  client: RegistryClient,
  record: TagRecord | null,
  { repository, reference, platform }: ImageQuestion,
): Promise<ImageModel | null> {
  const found = await readManifest(client, repository, reference);
  if (found === null) return null;
  const isTag = reference !== found.digest;
  const [platforms, referrers, twins, [known]] = await Promise.all([
    readPlatforms(client, repository, found, platform),
    readReferrers(client, repository, found, platform),
    record?.tagsOf(repository, found.digest),
    isTag && record !== null ? record.tags(repository, [reference]) : [],
  ]);
  const { shown, entries } = platforms;
  const isKnown = known?.digest === found.digest;
  const recorded = isKnown ? known.bytes : null;
  const { manifest } = found;
  return fitForeignTexts(
    {
      ...{ repository, reference, digest: found.digest, kind: manifest.kind, referrers, shown },
      mediaType: toForeignText(manifest.mediaType),
      bytes: recorded ?? (await readSize(client, repository, found, platforms.read)),
      annotations: showPairs(manifest.annotations),
      platforms: { items: entries, more: manifest.platforms.length - entries.length },
      twins: twins
        ? shorten(
            twins.filter((tag) => tag !== reference),
            maxTwins,
            (tag) => tag,
          )
        : null,
      pushedMs: isKnown ? known.pushedMs : null,
      pushedBy: isKnown ? known.pushedBy : null,
      pulledMs: known?.pulledMs ?? null,
    },
    maxForeignBytes,
  );
}

/** What the lists would say. @param read manifests of an index that were read already */
async function readSize(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  read: readonly (ReadManifest | null)[],
): Promise<number | null> {
  const known = new Map(read.map((each) => [each?.digest, each]));
  const all = manifestsOf(found.manifest);
  if (all.length > maxManifests) return null;
  const children = await readSeveral(
    all,
    async (digest) => known.get(digest) ?? (await readManifest(client, repository, digest)),
  );
  return sumManifests([found, ...children]);
}

async function readPlatforms(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  wanted: string | null,
): Promise<{
  shown: ImageOfPlatform | null;
  entries: readonly PlatformEntry[];
  read: readonly (ReadManifest | null)[];
}> {
  const { manifest } = found;
  if (manifest.kind !== 'index')
    return { shown: await readImageOfPlatform(client, repository, found, null), entries: [], read: [] };
  const chosen = choosePlatform(manifest.platforms, wanted);
  const listed = manifest.platforms.slice(0, maxPlatforms);
  const others = chosen === null || listed.includes(chosen) ? listed : [chosen, ...listed.slice(1)];
  const children = await readSeveral(others, ({ digest }) => readManifest(client, repository, digest));
  const entries = others.map(({ digest, platform }, index): PlatformEntry => {
    const child = children[index] ?? null;
    return { digest, platform, bytes: sumManifests([child]) };
  });
  const child = chosen === null ? null : (children[others.indexOf(chosen)] ?? null);
  const shown =
    child === null || chosen === null
      ? null
      : await readImageOfPlatform(client, repository, child, chosen.platform);
  return { shown, entries, read: children };
}

/** Null for an index within an index. */
async function readImageOfPlatform(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  platform: string | null,
): Promise<ImageOfPlatform | null> {
  const { digest, manifest } = found;
  if (manifest.kind === 'index' || manifest.kind === 'unknown') return null;
  const isImage = manifest.kind === 'image';
  const body =
    isImage || manifest.kind === 'chart' ? await readConfigBlob(client, repository, manifest) : null;
  const parsed = isImage && body !== null ? parseImageConfig(body) : null;
  return {
    digest,
    platform: platform ?? parsed?.platform ?? null,
    bytes: sumManifests([found]),
    ...pairLayers(manifest.layers, parsed?.history ?? []),
    config: parsed?.config ?? null,
    chart: manifest.kind === 'chart' && body !== null ? parseChart(body) : null,
  };
}

/** Null: it is too large, or the registry does not give it here. */
export async function readConfigBlob(
  client: RegistryClient,
  repository: string,
  { config }: Manifest,
): Promise<Buffer | null> {
  if (config === null || (config.bytes ?? 0) > maxConfigBytes) return null;
  const path = `/v2/${repository}/blobs/${config.digest}`;
  try {
    const answer = await client.ask('GET', path, { maxBytes: maxConfigBytes });
    return answer.status === 200 ? answer.body : null;
  } catch {
    return null; // the manifest was read: the page shows that
  }
}
