import { compareImages, type ComparedImage } from './comparison.ts';
import { parseForeignObject } from '../foreign-json.ts';
import { fitForeignTexts, shorten } from '../foreign-text.ts';
import type { CompareModel, Platform } from '../models.ts';
import { choosePlatform, readPlatform } from './manifest.ts';
import { readConfigBlob } from './read-image.ts';
import { readManifest, type ReadManifest } from './read-manifest.ts';
import type { RegistryClient } from '../registry-client.ts';

const maxPlatforms = 30;
/** Bytes of texts of others on the page. */
const maxForeignBytes = 10 * 1024;

/** What is compared; `platform`: as people write it, null for the usual one. */
export type CompareQuestion = {
  readonly repository: string;
  readonly a: string;
  readonly b: string;
  readonly platform: string | null;
};

/** Compares two tags or digests of a repository, by one platform that both have. Null: there is not one of them. @throws ConsoleError */
export async function readComparison(
  client: RegistryClient,
  { repository, a, b, platform: wanted }: CompareQuestion,
): Promise<CompareModel | null> {
  const [one, other] = await Promise.all([
    readManifest(client, repository, a),
    readManifest(client, repository, b),
  ]);
  if (one === null || other === null) return null;
  const platforms = findShared(one, other);
  const platform = choose(platforms, wanted);
  const [imageA, imageB] = await Promise.all([
    readImageOf(client, repository, one, platform),
    readImageOf(client, repository, other, platform),
  ]);
  return fitForeignTexts(
    {
      ...{ repository, a, b, digestA: one.digest, digestB: other.digest },
      platform: platform ?? imageA.platform ?? imageB.platform,
      platforms: shorten(platforms, maxPlatforms, (each) => each),
      ...compareImages(imageA, imageB),
    },
    maxForeignBytes,
  );
}

/** The platforms that both have; of an image that is no index all that the other has. */
function findShared(a: ReadManifest, b: ReadManifest): readonly Platform[] {
  const [ofA, ofB] = [a, b].map(({ manifest }) =>
    manifest.kind === 'index' ? manifest.platforms.flatMap(({ platform }) => platform ?? []) : null,
  );
  const inB = ofB && new Set(ofB);
  return [...new Set(ofA ?? ofB)].filter((platform) => inB?.has(platform) !== false);
}

function choose(platforms: readonly Platform[], wanted: string | null): Platform | null {
  if (wanted !== null && platforms.includes(wanted)) return wanted;
  return platforms.includes('linux/amd64') ? 'linux/amd64' : (platforms[0] ?? null);
}

async function readImageOf(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  platform: Platform | null,
): Promise<ComparedImage & { platform: Platform | null }> {
  const image = await findImage(client, repository, found, platform);
  if (image === null) return { layers: [], config: null, platform };
  const { manifest } = image;
  const body = manifest.kind === 'image' ? await readConfigBlob(client, repository, manifest) : null;
  const config = body && parseForeignObject(body);
  return { layers: manifest.layers, config, platform: platform ?? readPlatform(config) };
}

async function findImage(
  client: RegistryClient,
  repository: string,
  found: ReadManifest,
  platform: Platform | null,
): Promise<ReadManifest | null> {
  const { manifest } = found;
  if (manifest.kind !== 'index') return found;
  const child =
    manifest.platforms.find((each) => each.platform === platform) ?? choosePlatform(manifest.platforms, null);
  return child === null ? null : readManifest(client, repository, child.digest);
}
