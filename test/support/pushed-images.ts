import { randomBytes } from 'node:crypto';
import { lutimes, readdir } from 'node:fs/promises';
import path from 'node:path';
import { pushBlob, sha256 } from './stored-blobs.ts';

export type PushedManifest = { readonly digest: string; readonly bytes: number };
export type PushedImage = PushedManifest & {
  readonly config: string;
  readonly layers: readonly string[];
  /** Of manifest, configuration and layers. */
  readonly totalBytes: number;
};

const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

/** Pushes an image to a registry without a password, under a tag, or by its digest alone. */
export async function pushImage(
  url: string,
  repository: string,
  tag: string | null,
  { layers = [randomBytes(1000)], subject }: { layers?: readonly Buffer[]; subject?: PushedManifest } = {},
): Promise<PushedImage> {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', id: randomBytes(8).toString('hex') }),
  );
  for (const blob of [config, ...layers]) await pushBlob(url, repository, blob);
  const descriptor = (mediaType: string, blob: Buffer) => ({
    mediaType,
    digest: sha256(blob),
    size: blob.length,
  });
  const manifest = await pushManifest(url, repository, tag, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(types.config, config),
    layers: layers.map((layer) => descriptor(types.layer, layer)),
    ...(subject === undefined
      ? {}
      : { subject: { mediaType: types.manifest, digest: subject.digest, size: subject.bytes } }),
  });
  const totalBytes = [config, ...layers].reduce((sum, { length }) => sum + length, manifest.bytes);
  return { ...manifest, config: sha256(config), layers: layers.map(sha256), totalBytes };
}

/** Pushes an index of manifests that are in the repository. */
export function pushIndex(
  url: string,
  repository: string,
  tag: string | null,
  manifests: readonly PushedManifest[],
): Promise<PushedManifest> {
  return pushManifest(url, repository, tag, {
    schemaVersion: 2,
    mediaType: types.index,
    manifests: manifests.map(({ digest, bytes }) => ({ mediaType: types.manifest, digest, size: bytes })),
  });
}

/** Gives a manifest of the repository one more tag. */
export async function pushTag(url: string, repository: string, tag: string, digest: string): Promise<void> {
  const accept = `${types.manifest}, ${types.index}`;
  const got = await fetch(`${url}/v2/${repository}/manifests/${digest}`, { headers: { accept } });
  await putManifest(
    url,
    repository,
    tag,
    Buffer.from(await got.arrayBuffer()),
    got.headers.get('content-type') ?? '',
  );
}

async function pushManifest(
  url: string,
  repository: string,
  tag: string | null,
  manifest: { mediaType: string } & Record<string, unknown>,
): Promise<PushedManifest> {
  const body = Buffer.from(JSON.stringify(manifest));
  await putManifest(url, repository, tag ?? sha256(body), body, manifest.mediaType);
  return { digest: sha256(body), bytes: body.length };
}

async function putManifest(
  url: string,
  repository: string,
  reference: string,
  body: Buffer,
  mediaType: string,
) {
  const put = await fetch(`${url}/v2/${repository}/manifests/${reference}`, {
    method: 'PUT',
    body: new Uint8Array(body),
    headers: { 'content-type': mediaType },
  });
  if (put.status !== 201) throw new Error(`the registry answered ${put.status}: ${await put.text()}`);
}

/** Sets the times of everything below a folder. */
export async function setTimes(folder: string, ms: number): Promise<void> {
  const time = new Date(ms);
  const entries = await readdir(folder, { recursive: true });
  for (const entry of [...entries, '.']) await lutimes(path.join(folder, entry), time, time);
}

/** Sets when a tag was pushed. */
export async function setPushed(root: string, repository: string, tag: string, ms: number): Promise<void> {
  await setTimes(path.join(root, 'docker/registry/v2/repositories', repository, '_manifests/tags', tag), ms);
}
