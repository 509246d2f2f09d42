import { createHash } from 'node:crypto';
import type { Answer, CacheClient } from './cache-client.ts';

export const imageType = 'application/vnd.oci.image.manifest.v1+json';
export const indexType = 'application/vnd.oci.image.index.v1+json';

/** A manifest, as it is pushed. */
export type Manifest = { readonly body: string; readonly type: string; readonly digest: string };

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const config = '{}';

/** Creates an image with only a configuration; a different one for each text. */
export function makeImage(text: string): Manifest {
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: imageType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: config.length,
    },
    layers: [],
    annotations: { text },
  });
  return { body, type: imageType, digest: digestOf(body) };
}

export function makeIndex(children: readonly Manifest[]): Manifest {
  const manifests = children.map(({ type, digest, body }) => ({
    mediaType: type,
    digest,
    size: body.length,
    platform: { architecture: 'amd64', os: 'linux' },
  }));
  const body = JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests });
  return { body, type: indexType, digest: digestOf(body) };
}

/** Uploads the configuration that all images of {@link makeImage} reference. */
export const pushConfig = (client: CacheClient, repository: string): Promise<string> =>
  pushBlob(client, repository, config);

export async function pushBlob(client: CacheClient, repository: string, content: string): Promise<string> {
  const digest = digestOf(content);
  const started = await client.ask('POST', `/v2/${repository}/blobs/uploads/`);
  const { pathname, search } = new URL(started.header('Location'), 'https://localhost');
  const done = await client.ask('PUT', `${pathname}${search}&digest=${encodeURIComponent(digest)}`, {
    headers: { 'Content-Type': 'application/octet-stream' },
    body: content,
  });
  if (done.status !== 201) throw new Error(`a blob was not taken: ${done.status}`);
  return digest;
}

/** Creates a manifest of the given type with any content. */
export function makeManifest(type: string, content: object | string): Manifest {
  const body = typeof content === 'string' ? content : JSON.stringify({ schemaVersion: 2, ...content });
  return { body, type, digest: digestOf(body) };
}

export function pushManifest(
  client: CacheClient,
  path: string,
  { body, type }: Manifest,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return client.ask('PUT', path, { headers: { 'Content-Type': type, ...headers }, body });
}
