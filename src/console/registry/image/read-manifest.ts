import { createHash } from 'node:crypto';
import { digestForm } from '../../../registry/names/digest.ts';
import { manifestTypes, parseManifest, sumBytes, type Manifest } from './manifest.ts';
import type { RegistryAnswer, RegistryClient } from '../registry-client.ts';
import { isFound } from '../found.ts';

/** A manifest that was read. */
export type ReadManifest = {
  readonly digest: string;
  readonly mediaType: string;
  readonly body: Buffer;
  readonly manifest: Manifest;
};

/** Registries take manifests of up to 4 MiB. */
const maxManifestBytes = 4 * 1024 * 1024;

/** Reads a manifest by tag or digest; null: there is none. @throws ConsoleError */
export async function readManifest(
  client: RegistryClient,
  repository: string,
  reference: string,
  maxBytes = maxManifestBytes,
): Promise<ReadManifest | null> {
  const path = manifestPath(repository, reference);
  const answer = await client.ask('GET', path, { accept: manifestTypes, maxBytes });
  if (!isFound(answer)) return null;
  const mediaType = answer.headers['content-type'] ?? '';
  return {
    digest: digestForm.test(reference) ? reference : digestOf(answer),
    mediaType,
    body: answer.body,
    manifest: parseManifest(answer.body, mediaType),
  };
}

/** The digest that a tag or digest leads to; null: there is none. @throws ConsoleError */
export async function readDigestOf(
  client: RegistryClient,
  repository: string,
  reference: string,
): Promise<string | null> {
  const path = manifestPath(repository, reference);
  const answer = await client.ask('HEAD', path, { accept: manifestTypes, maxBytes: 0 });
  return isFound(answer) ? readContentDigest(answer) : null;
}

/**
 * Bytes of these manifests, their configurations and layers, each once, as in the lists of the record. Null: one is missing, or does not
 * say.
 */
export function sumManifests(all: readonly (ReadManifest | null)[]): number | null {
  const sizes = new Map<string, { readonly bytes: number | null }>();
  for (const each of all) {
    if (each === null || each.manifest.kind === 'schema1' || each.manifest.kind === 'unknown') return null;
    const { config, layers } = each.manifest;
    sizes.set(each.digest, { bytes: each.body.length });
    for (const part of config === null ? layers : [config, ...layers]) sizes.set(part.digest, part);
  }
  return sumBytes([...sizes.values()]);
}

export function manifestPath(repository: string, reference: string): string {
  return `/v2/${repository}/manifests/${reference}`;
}

function digestOf(answer: RegistryAnswer): string {
  return readContentDigest(answer) ?? `sha256:${createHash('sha256').update(answer.body).digest('hex')}`;
}

function readContentDigest({ headers }: RegistryAnswer): string | null {
  const digest = headers['docker-content-digest'] ?? '';
  return digestForm.test(digest) ? digest : null;
}
