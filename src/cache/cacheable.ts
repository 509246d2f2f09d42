import type { Operation } from '../registry/operation.ts';

/** A request that the cache may answer, and whether upstream's answer depends on Accept. */
export type Cacheable = {
  readonly scope: string;
  readonly item: string;
  readonly kind: 'tag' | 'digest' | 'v1';
};

/** What a write invalidates. */
export type Written = { readonly scope: string; readonly items: readonly string[] | 'all' };

/**
 * Finds the item that may answer a GET or HEAD: manifests and indexes, and small files of v1. Everything else (layers,
 * uploads, lists, referrers, anything with a query) goes to upstream.
 *
 * @param path the decoded path
 */
export function cacheableOf(operation: Operation, path: string): Cacheable | null {
  if (!operation.reads || operation.hasQuery) return null;
  switch (operation.kind) {
    case 'manifest': {
      const { repository, reference, digest } = operation;
      return { scope: `v2:${repository}`, item: reference, kind: digest === null ? 'tag' : 'digest' };
    }
    case 'v1-image': {
      const { image, part, isPrivate } = operation;
      if (isPrivate || (part !== 'json' && part !== 'ancestry')) return null;
      return { scope: `v1-image:${image}`, item: path, kind: 'v1' };
    }
    case 'v1-repository': {
      const { repository, part } = operation;
      if (part !== 'tags' && part !== 'tags/TAG') return null;
      return { scope: `v1:${repository}`, item: path, kind: 'v1' };
    }
    default:
      return null;
  }
}

/** Finds what a write invalidates, with any method but GET, HEAD and OPTIONS; null if nothing of it is ever cached. */
export function writtenOf(operation: Operation): Written | null {
  const { method, reads, hasQuery } = operation;
  if (reads || method === 'OPTIONS') return null;
  switch (operation.kind) {
    case 'manifest': {
      const { repository, reference, tag } = operation;
      // Deleting a digest deletes every tag on it; and a query can name tags (`?tag=`).
      const onlyItself = !hasQuery && (method === 'PUT' || tag !== null);
      return { scope: `v2:${repository}`, items: onlyItself ? [reference] : 'all' };
    }
    case 'blob':
      // A registry may also keep a manifest as a blob: deleting that deletes the manifest, and every tag on it.
      return { scope: `v2:${operation.repository}`, items: 'all' };
    case 'v1-image':
      return operation.isPrivate ? null : { scope: `v1-image:${operation.image}`, items: 'all' };
    case 'v1-repository':
      return { scope: `v1:${operation.repository}`, items: 'all' };
    default:
      return null;
  }
}
