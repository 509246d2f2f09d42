import { digestForm } from '../../registry/names/digest.ts';
import type { TagKind } from '../repository-lists.ts';

/** A manifest of an index. */
export type ManifestOfIndex = { readonly digest: string; readonly platform: string | null };

/** What a manifest consists of. */
export type ManifestParts = {
  readonly kind: TagKind;
  /** The sizes that it names of its configuration and layers, by digest. Null: it names none. */
  readonly blobs: ReadonlyMap<string, number> | null;
  /** Of an index; of anything else none. */
  readonly manifests: readonly ManifestOfIndex[];
};

const indexTypes = ['.image.index.v1+json', '.manifest.list.v2+json'];
const imageConfigs = ['.container.image.v1+json', '.image.config.v1+json'];
const chartConfig = 'application/vnd.cncf.helm.config.v1+json';
const platformPart = /^[a-z0-9._-]{1,32}$/;

/** Reads the bytes of a manifest. They are others' text, and whatever they say is taken as their word. */
export function readManifestParts(body: Buffer): ManifestParts {
  const manifest = parseObject(body);
  if (manifest === null) return { kind: 'unknown', blobs: null, manifests: [] };
  const { mediaType, config, layers, blobs, manifests } = manifest;
  const isIndex =
    typeof mediaType === 'string'
      ? indexTypes.some((end) => mediaType.endsWith(end))
      : Array.isArray(manifests);
  if (isIndex)
    return { kind: 'index', blobs: new Map(), manifests: readList(manifests).flatMap(readOfIndex) };
  if (!Array.isArray(layers) && !Array.isArray(blobs))
    return { kind: 'fsLayers' in manifest ? 'image' : 'unknown', blobs: null, manifests: [] };
  const sizes = new Map<string, number>();
  for (const part of [config, ...readList(layers), ...readList(blobs)]) {
    const { digest, size } = asObject(part);
    if (isDigest(digest) && isSize(size)) sizes.set(digest, size);
  }
  return { kind: kindOf(asObject(config)['mediaType']), blobs: sizes, manifests: [] };
}

function kindOf(configType: unknown): TagKind {
  if (configType === chartConfig) return 'chart';
  return typeof configType === 'string' && imageConfigs.some((end) => configType.endsWith(end))
    ? 'image'
    : 'artifact';
}

function readOfIndex(item: unknown): ManifestOfIndex[] {
  const { digest, platform } = asObject(item);
  return isDigest(digest) ? [{ digest, platform: readPlatform(asObject(platform)) }] : [];
}

/** Null: none, as attestations have it. */
function readPlatform({ os, architecture, variant }: Record<string, unknown>): string | null {
  if (!isPart(os) || !isPart(architecture) || os === 'unknown') return null;
  return [os, architecture, ...(isPart(variant) ? [variant] : [])].join('/');
}

function isPart(value: unknown): value is string {
  return typeof value === 'string' && platformPart.test(value);
}

function isDigest(value: unknown): value is string {
  return typeof value === 'string' && digestForm.test(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function readList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function parseObject(body: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
