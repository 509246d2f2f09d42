import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { digestForm } from '../../registry/names/digest.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { Fetched } from '../../upstream/request.ts';
import type { ManifestSummary, TagToRead } from '../findings.ts';
import { readManifestParts } from './manifest-parts.ts';
import type { AskedRegistry } from './asked-registry.ts';

/** Where a tag leads to. `summary` null: where it led before. `useless`: the answer says nothing. */
export type ReadTag =
  { readonly digest: string; readonly summary: ManifestSummary | null } | 'absent' | 'useless';

/** Larger manifests are not read: their size is not known. */
const maxManifestBytes = 1024 * 1024;
/** Of an index with more manifests the size is not known. */
const maxManifests = 100;
const maxPlatforms = 20;
/** Tags often lead to the same manifests. */
const maxRemembered = 500;

/** Reads what tags lead to. */
export function createManifestReader() {
  const remembered = new LRUCache<string, ManifestSummary>({ max: maxRemembered });

  const summarize = async (
    registry: AskedRegistry,
    repository: string,
    digest: string,
    given: Fetched | null,
  ): Promise<ManifestSummary | null> => {
    const key = registry.isMirror ? `mirror ${digest}` : digest;
    const known = remembered.get(key);
    if (known !== undefined) return known;
    const answer = given ?? (await registry.ask('GET', manifestPath(repository, digest), maxManifestBytes));
    if (answer === null) return { kind: 'unknown', bytes: null, platforms: [] };
    if (answer.status !== 200) return null;
    const summary = await sumUp(registry, repository, digest, answer.body);
    remembered.set(key, summary);
    return summary;
  };

  return async (
    registry: AskedRegistry,
    { repository, tag, digest, isRead }: TagToRead,
  ): Promise<ReadTag> => {
    // A mirror asks its source about a tag, and would fetch what it lacks: of what it holds the digest is known.
    if (registry.isMirror) {
      if (digest === null) return 'useless';
      const summary = isRead ? null : await summarize(registry, repository, digest, null);
      return summary === null && !isRead ? 'useless' : { digest, summary };
    }
    const head = await registry.ask('HEAD', manifestPath(repository, tag), maxManifestBytes);
    if (head?.status === 404) return 'absent';
    if (head?.status !== 200) return 'useless';
    const [named] = headerValues(head.rawHeaders, 'docker-content-digest');
    if (named !== undefined && digestForm.test(named)) {
      if (named === digest && isRead) return { digest, summary: null };
      const summary = await summarize(registry, repository, named, null);
      return summary === null ? 'useless' : { digest: named, summary };
    }
    const whole = await registry.ask('GET', manifestPath(repository, tag), maxManifestBytes);
    if (whole?.status !== 200) return whole?.status === 404 ? 'absent' : 'useless';
    const own = `sha256:${createHash('sha256').update(whole.body).digest('hex')}`;
    const summary = await summarize(registry, repository, own, whole);
    return summary === null ? 'useless' : { digest: own, summary };
  };
}

async function sumUp(
  registry: AskedRegistry,
  repository: string,
  digest: string,
  body: Buffer,
): Promise<ManifestSummary> {
  const { kind, blobs, manifests } = readManifestParts(body);
  const platforms = [...new Set(manifests.flatMap(({ platform }) => platform ?? []))].slice(0, maxPlatforms);
  // A mirror holds of an index only what was pulled, and would fetch the rest.
  const isKnown = blobs !== null && manifests.length <= maxManifests;
  if (!isKnown || (registry.isMirror && manifests.length > 0)) return { kind, bytes: null, platforms };
  const sizes = new Map([...blobs, [digest, body.length]]);
  for (const { digest: child } of manifests) {
    if (sizes.has(child)) continue;
    const answer = await registry.ask('GET', manifestPath(repository, child), maxManifestBytes);
    // An index may name manifests that were never pushed here.
    if (answer?.status !== 200) continue;
    sizes.set(child, answer.body.length);
    for (const [blob, size] of readManifestParts(answer.body).blobs ?? []) sizes.set(blob, size);
  }
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { kind, bytes: Number.isSafeInteger(bytes) ? bytes : null, platforms };
}

function manifestPath(repository: string, reference: string): string {
  return `/v2/${repository}/manifests/${reference}`;
}
