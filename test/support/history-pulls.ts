import type { CacheClient } from './cache-client.ts';
import { digestOf, type Content } from './history-pushes.ts';
import { imageType, indexType, type Manifest } from './manifest-registry.ts';

export const accepting = { headers: { Accept: [imageType, indexType] } };

/** Pulls all that a tag leads to, and checks every byte. Null: it is whole. */
export async function pullContent(
  ask: CacheClient['ask'],
  repository: string,
  tag: string,
  { root, below }: Content,
): Promise<string | null> {
  const fault = await pullManifest(ask, repository, tag, root);
  if (fault !== null) return fault;
  for (const manifest of below) {
    const found = await pullManifest(ask, repository, manifest.digest, manifest);
    if (found !== null) return `${repository}:${tag}: ${found}`;
  }
  return null;
}

async function pullManifest(
  ask: CacheClient['ask'],
  repository: string,
  reference: string,
  wanted: Manifest,
): Promise<string | null> {
  const got = await ask('GET', `/v2/${repository}/manifests/${reference}`, accepting);
  const name = `${repository} ${reference}`;
  if (got.status !== 200) return `${name} answered ${got.status}`;
  if (got.body.toString() !== wanted.body) return `${name} is another manifest`;
  for (const { digest, size } of blobsOf(wanted)) {
    const blob = await ask('GET', `/v2/${repository}/blobs/${digest}`);
    if (blob.status !== 200) return `${name}: blob ${digest} answered ${blob.status}`;
    if (blob.body.length !== size || digestOf(blob.body) !== digest)
      return `${name}: blob ${digest} is broken`;
  }
  return null;
}

/** The configuration and layers that a manifest names. */
export function blobsOf({ body }: Manifest): { digest: string; size: number }[] {
  const { config, layers } = JSON.parse(body) as {
    config?: { digest: string; size: number };
    layers?: { digest: string; size: number }[];
  };
  return [...(config ? [config] : []), ...(layers ?? [])];
}
