import { shorten } from './foreign-text.ts';
import { manifestsOf, type Manifest } from './image/manifest.ts';
import type { RepositoryPageModel, TagRow } from './models.ts';
import { readManifest, sumManifests, type ReadManifest } from './image/read-manifest.ts';
import { readSeveral } from './read-several.ts';
import type { RegistryClient } from './registry-client.ts';
import type { KnownTag, TagRecord } from './tag-record.ts';
import { readTagNames, searchTags } from './tag-names.ts';

/** Fewer where names are long: a page has at most 30 KB. */
const maxTagsPerPage = 40;
const maxRowsBytes = 26_500;
/** Of a row beside its names. */
const rowBytes = 560;
/** Of a row. */
const maxPlatforms = 20;
const maxTwins = 20;
/** Manifests that a page reads to sum up its indexes, beside one for each row. */
const maxManifestReads = 50;
/** A larger manifest is named in the list without its size. */
const maxManifestBytes = 256 * 1024;

/** Reads a page of the tags of a repository; null: there is no such repository. @throws ConsoleError */
export async function readRepositoryPage(
  client: RegistryClient,
  record: TagRecord | null,
  { repository, search, page: wanted }: { repository: string; search: string; page: number },
): Promise<RepositoryPageModel | null> {
  const tags = await readTagNames(client, repository);
  if (tags === null) return null;
  const { found, attached } = searchTags(tags, search);
  const tagsPerPage = countPerPage(repository, found);
  const pages = Math.max(1, Math.ceil(found.length / tagsPerPage));
  const page = Math.min(Math.max(1, wanted), pages);
  const shown = found.slice((page - 1) * tagsPerPage, page * tagsPerPage);
  const known = new Map((await record?.tags(repository, shown))?.map((each) => [each.tag, each]));
  const rows = await readRows(client, repository, shown, known);
  return { repository, rows, total: found.length, page, pages, search, attached };
}

/** A row has the name of its tag three times, and those of three twins; what stands around the rows the repository's ten times. */
function countPerPage(repository: string, tags: readonly string[]): number {
  const longest = tags.reduce((length, tag) => Math.max(length, tag.length), 0);
  const bytes = maxRowsBytes - 10 * repository.length;
  return Math.min(maxTagsPerPage, Math.floor(bytes / (rowBytes + repository.length + 6 * longest)));
}

async function readRows(
  client: RegistryClient,
  repository: string,
  tags: readonly string[],
  known: ReadonlyMap<string, KnownTag>,
): Promise<readonly TagRow[]> {
  const read = (reference: string) => readOrNull(client, repository, reference);
  const manifests = await readSeveral(tags, read);
  const tagsByDigest = new Map<string, string[]>();
  for (const [index, tag] of tags.entries()) {
    const digest = manifests[index]?.digest;
    if (digest !== undefined) tagsByDigest.set(digest, [...(tagsByDigest.get(digest) ?? []), tag]);
  }
  const bytes = await readSizes(
    manifests,
    tags.map((tag) => known.get(tag)),
    read,
  );
  return tags.map((tag, index): TagRow => {
    const found = manifests[index] ?? null;
    const record = known.get(tag);
    // What the record says of another digest was true of an earlier image.
    const fits = record !== undefined && (record.digest === null || record.digest === found?.digest);
    const onPage = tagsByDigest.get(found?.digest ?? '') ?? [];
    const recorded = fits && record.digest === found?.digest ? record.twins : [];
    const twins = [...new Set([...onPage, ...recorded])].filter((other) => other !== tag);
    return {
      tag,
      digest: found?.digest ?? null,
      bytes: bytes[index] ?? null,
      platforms: shorten(platformsOf(found?.manifest), maxPlatforms, (platform) => platform),
      kind: found?.manifest.kind ?? 'unknown',
      pushedMs: fits ? record.pushedMs : null,
      pushedBy: fits ? record.pushedBy : null,
      pulledMs: record?.pulledMs ?? null,
      twins: shorten(twins, maxTwins, (twin) => twin),
    };
  });
}

/** Null: it went meanwhile, or is more than a list reads. */
async function readOrNull(
  client: RegistryClient,
  repository: string,
  reference: string,
): Promise<ReadManifest | null> {
  try {
    return await readManifest(client, repository, reference, maxManifestBytes);
  } catch {
    return null; // the page shows what it could read; the list of tags itself was read
  }
}

/** The size of each: as the record has it, or summed up. Of an index all its manifests are read for that. */
async function readSizes(
  manifests: readonly (ReadManifest | null)[],
  known: readonly (KnownTag | undefined)[],
  read: (reference: string) => Promise<ReadManifest | null>,
): Promise<readonly (number | null)[]> {
  const recorded = manifests.map((found, index) =>
    found !== null && known[index]?.digest === found.digest ? known[index].bytes : null,
  );
  const wanted = new Set<string>();
  for (const [index, found] of manifests.entries()) {
    if (found === null || recorded[index] !== null) continue;
    const digests = manifestsOf(found.manifest);
    if (wanted.size + digests.length <= maxManifestReads) for (const digest of digests) wanted.add(digest);
  }
  const reading = await readSeveral([...wanted], async (digest) => [digest, await read(digest)] as const);
  const children = new Map(reading);
  return manifests.map((found, index) => {
    if (found === null || recorded[index] !== null) return recorded[index] ?? null;
    const all = manifestsOf(found.manifest).map((digest) => children.get(digest) ?? null);
    return sumManifests([found, ...all]);
  });
}

function platformsOf(manifest: Manifest | undefined): readonly string[] {
  return [...new Set(manifest?.platforms.flatMap(({ platform }) => platform ?? []))];
}
