import {
  isObject,
  parseForeignObject,
  readBytes,
  readDigest,
  readList,
  readObject,
  readText,
  type ForeignObject,
} from '../foreign-json.ts';
import type { ManifestKind, Platform } from '../models.ts';

/** What a manifest says of other content (image-spec, "Content Descriptors"). */
export type Descriptor = {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: number | null;
  readonly artifactType: string | null;
  readonly platform: Platform | null;
  readonly annotations: ForeignObject;
};

/** A manifest, read by its content. */
export type Manifest = {
  readonly mediaType: string;
  readonly kind: ManifestKind;
  readonly annotations: ForeignObject;
  /** The manifests of an index that are no attestations. */
  readonly platforms: readonly Descriptor[];
  /** Attestations that BuildKit puts into an index, by the digest of what they are about. */
  readonly attestations: readonly { readonly about: string; readonly descriptor: Descriptor }[];
  readonly config: Descriptor | null;
  /** Of an artifact its blobs. */
  readonly layers: readonly Descriptor[];
};

const imageTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;
/** ORAS, before OCI 1.1. */
const artifactManifest = 'application/vnd.oci.artifact.manifest.v1+json';

/** Every type of manifest that is read. Without schema 1: a registry would convert others to it. */
export const manifestTypes: readonly string[] = [...Object.values(imageTypes), artifactManifest];

const unknownManifest = {
  kind: 'unknown',
  annotations: {},
  platforms: [],
  attestations: [],
  config: null,
  layers: [],
} as const;

/** Reads a manifest, whatever its bytes are: what is not as it should be is missing. */
export function parseManifest(body: Buffer, contentType: string): Manifest {
  const fields = parseForeignObject(body);
  if (fields === null) return { ...unknownManifest, mediaType: contentType };
  const mediaType = readText(fields['mediaType']) ?? contentType;
  const annotations = readObject(fields['annotations']);
  if (fields['fsLayers'] !== undefined)
    return { ...unknownManifest, kind: 'schema1', mediaType, layers: readSchema1Layers(fields) };
  if (Array.isArray(fields['manifests']) && fields['config'] === undefined)
    return { ...unknownManifest, kind: 'index', mediaType, annotations, ...readIndex(fields['manifests']) };
  const config = readDescriptor(fields['config']);
  const layers = readDescriptors(fields['layers'] ?? fields['blobs']);
  if (config === null && layers.length === 0) return { ...unknownManifest, mediaType, annotations };
  const kind = findKind(readText(fields['artifactType']), config, layers);
  return { ...unknownManifest, kind, mediaType, annotations, config, layers };
}

/** Their sum; null where one of them is not known. */
export function sumBytes(parts: readonly Pick<Descriptor, 'bytes'>[]): number | null {
  let sum = 0;
  for (const { bytes } of parts) {
    if (bytes === null) return null;
    sum += bytes;
  }
  return Number.isSafeInteger(sum) ? sum : null;
}

/** The digests of all manifests of an index, attestations among them; of anything else none. */
export function manifestsOf({ platforms, attestations }: Manifest): readonly string[] {
  const all = [...platforms, ...attestations.map(({ descriptor }) => descriptor)];
  return [...new Set(all.map(({ digest }) => digest))];
}

export function readDescriptor(value: unknown): Descriptor | null {
  if (!isObject(value)) return null;
  const digest = readDigest(value['digest']);
  if (digest === null) return null;
  return {
    digest,
    mediaType: readText(value['mediaType']) ?? '',
    bytes: readBytes(value['size']),
    artifactType: readText(value['artifactType']),
    platform: readPlatform(value['platform']),
    annotations: readObject(value['annotations']),
  };
}

function readDescriptors(value: unknown): readonly Descriptor[] {
  return readList(value).flatMap((item) => readDescriptor(item) ?? []);
}

/** Schema 1 has them from the last to the first. */
function readSchema1Layers(fields: ForeignObject): readonly Descriptor[] {
  return readList(fields['fsLayers'])
    .flatMap((item) => readDescriptor({ digest: readObject(item)['blobSum'] }) ?? [])
    .reverse();
}

function readIndex(list: readonly unknown[]): Pick<Manifest, 'platforms' | 'attestations'> {
  const platforms: Descriptor[] = [];
  const attestations: { about: string; descriptor: Descriptor }[] = [];
  for (const descriptor of readDescriptors(list)) {
    const about = readDigest(descriptor.annotations['vnd.docker.reference.digest']);
    if (descriptor.annotations['vnd.docker.reference.type'] === 'attestation-manifest' && about !== null)
      attestations.push({ about, descriptor });
    else platforms.push(descriptor);
  }
  return { platforms, attestations };
}

const usualPlatform = 'linux/amd64';

/** The platform of an index that is looked at when none is asked for. */
export function choosePlatform(platforms: readonly Descriptor[], wanted: string | null): Descriptor | null {
  return (
    platforms.find(({ digest }) => digest === wanted) ??
    platforms.find(({ platform }) => platform === usualPlatform) ??
    platforms.find(({ platform }) => platform !== null) ??
    platforms[0] ??
    null
  );
}

const platformPart = /^[A-Za-z0-9._-]{1,32}$/;

/** Null where there is none, it is unknown, or one of its parts is none that any system has. */
export function readPlatform(value: unknown): Platform | null {
  const { os, architecture, variant, 'os.version': version } = readObject(value);
  const parts = [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])];
  if (!parts.every((part) => typeof part === 'string' && platformPart.test(part))) return null;
  if (os === 'unknown') return null;
  const platform = parts.join('/');
  return typeof version === 'string' && platformPart.test(version) ? `${platform} (${version})` : platform;
}

/** What a type of artifact, config or layer means; the first that is found in one of them counts. */
const kindsByType: readonly (readonly [RegExp, ManifestKind])[] = [
  [/^application\/vnd\.cncf\.helm\./, 'chart'],
  [/simplesigning|notary\.signature|sigstore\.bundle/, 'signature'],
  [/spdx|cyclonedx|syft|sbom/, 'sbom'],
  [/in-toto|dsse/, 'attestation'],
];
const imageConfigs: readonly string[] = [
  'application/vnd.docker.container.image.v1+json',
  'application/vnd.oci.image.config.v1+json',
];

/** What a manifest is by the types that it names. */
export function findKind(
  artifactType: string | null,
  config: Pick<Descriptor, 'mediaType'> | null,
  layers: readonly Pick<Descriptor, 'mediaType' | 'annotations'>[],
): ManifestKind {
  const [layer] = layers;
  const predicate = layer === undefined ? null : readText(layer.annotations['in-toto.io/predicate-type']);
  const types = [artifactType, config?.mediaType, predicate, layer?.mediaType];
  for (const type of types) {
    if (typeof type !== 'string') continue;
    const found = kindsByType.find(([form]) => form.test(type.slice(0, 256).toLowerCase()));
    if (found !== undefined) return found[1];
  }
  return imageConfigs.includes(config?.mediaType ?? '') && artifactType === null ? 'image' : 'artifact';
}
