import type { Operation } from './operation.ts';

/** A push or delete: a request that changes what others pull. */
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

/** The most further tags that the specification allows in one request. */
const maxFurtherTags = 10;

/**
 * Finds what a request changes; null for nothing. What comes before a manifest (layers, uploads, v1 images) changes
 * nothing that can be pulled.
 */
export function changeOf(operation: Operation): Change | null {
  const { method } = operation;
  if (method !== 'PUT' && method !== 'DELETE') return null;
  const action = method === 'PUT' ? 'push' : 'delete';
  const change = { action, tag: null, digest: null, furtherTags: [], isV1: false } as const;
  switch (operation.kind) {
    case 'manifest': {
      const { repository, tag, digest, queryTags } = operation;
      if (digest === null) return { ...change, object: 'tag', repository, tag };
      const furtherTags = action === 'push' ? queryTags.slice(0, maxFurtherTags) : [];
      return { ...change, object: 'manifest', repository, digest, furtherTags };
    }
    case 'blob': {
      const { repository, digest } = operation;
      return action === 'push' || digest === null ? null : { ...change, object: 'blob', repository, digest };
    }
    case 'v1-repository': {
      const { repository, tag, part } = operation;
      const named = { ...change, repository, isV1: true } as const;
      if (part === 'tags/TAG') return { ...named, object: 'tag', tag };
      const isWhole = part === '' || part === 'tags' || part === 'tags/';
      return action === 'delete' && isWhole ? { ...named, object: 'repository' } : null;
    }
    default:
      return null;
  }
}
