import { digestForm } from './digest.ts';
import type { Route } from './route.ts';
import type { CanonicalTarget } from './target.ts';

/** A request that changes what others pull: what is pushed, or what is deleted. */
export type Change = {
  readonly action: 'push' | 'delete';
  readonly object: 'manifest' | 'tag' | 'blob' | 'repository';
  readonly repository: string;
  readonly tag: string | null;
  /** As the request names it; null where it names a tag. */
  readonly digest: string | null;
  /** Tags that a push by digest names in its query (distribution-spec, "Pushing Manifests With Tags"). */
  readonly furtherTags: readonly string[];
  /** The first registry protocol has images with an id, and no manifests. */
  readonly isV1: boolean;
};

const blobPath = /^\/v2\/(.+)\/blobs\/([^/]+)$/s;
const v1Tag = /^\/v1\/repositories\/([^/]+(?:\/[^/]+)??)\/tags\/([^/]+)$/;
const v1Repository = /^\/v1\/repositories\/([^/]+(?:\/[^/]+)??)\/?(?:tags\/?)?$/;

/**
 * Names what a request changes; null for nothing. What comes before a manifest (layers, uploads, v1's images) changes nothing that can be
 * pulled, and has none.
 */
export function parseChange(method: string, route: Route, target: CanonicalTarget): Change | null {
  if (method !== 'PUT' && method !== 'DELETE') return null;
  const action = method === 'PUT' ? 'push' : 'delete';
  const change = { action, tag: null, digest: null, furtherTags: [], isV1: false } as const;
  if (route.kind === 'manifest') {
    const { repository, reference } = route;
    if (!digestForm.test(reference)) return { ...change, object: 'tag', repository, tag: reference };
    const furtherTags = action === 'push' ? readTags(target) : [];
    return { ...change, object: 'manifest', repository, digest: reference, furtherTags };
  }
  const [, v1 = '', tag = ''] = v1Tag.exec(target.path) ?? [];
  if (v1 !== '') return { ...change, object: 'tag', repository: v1, tag, isV1: true };
  if (action === 'push') return null;
  const [, repository = '', digest = ''] = blobPath.exec(target.path) ?? [];
  if (digestForm.test(digest)) return { ...change, object: 'blob', repository, digest };
  const [, whole = ''] = v1Repository.exec(target.path) ?? [];
  return whole === '' ? null : { ...change, object: 'repository', repository: whole, isV1: true };
}

/** As many as the specification lets a client name in one request. */
const maxFurtherTags = 10;

function readTags({ raw, rawPath }: CanonicalTarget): string[] {
  return new URLSearchParams(raw.slice(rawPath.length)).getAll('tag').slice(0, maxFurtherTags);
}
