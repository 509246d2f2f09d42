import type { Operation } from '../registry/operation.ts';

/** What may be answered from the cache: whose it is, and whether upstream chooses its form by Accept. */
export type Cacheable = {
  readonly scope: string;
  readonly item: string;
  readonly kind: 'tag' | 'digest' | 'v1';
};

/** What a write makes out of date. */
export type Written = { readonly scope: string; readonly items: readonly string[] | 'all' };

/**
 * Names what a GET or HEAD may be answered from: manifests and indexes, and the first protocol's small files. Everything else
 * (layers, uploads, lists, referrers, anything with a query) is always upstream's to answer.
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

/**
 * Names what a write makes out of date, with any method but GET, HEAD and OPTIONS, so that what is kept may be; null for nothing that is
 * ever kept.
 */
export function writtenOf(operation: Operation): Written | null {
  const { method, reads, hasQuery } = operation;
  if (reads || method === 'OPTIONS') return null;
  switch (operation.kind) {
    case 'manifest': {
      const { repository, reference, tag } = operation;
      // A digest's end takes every tag on it along; and a query can name tags (`?tag=`).
      const onlyItself = !hasQuery && (method === 'PUT' || tag !== null);
      return { scope: `v2:${repository}`, items: onlyItself ? [reference] : 'all' };
    }
    case 'blob':
      // A registry can keep a manifest's bytes as a blob, too: the end of the one is that of the other, and of every tag on it.
      return { scope: `v2:${operation.repository}`, items: 'all' };
    case 'v1-image':
      return operation.isPrivate ? null : { scope: `v1-image:${operation.image}`, items: 'all' };
    case 'v1-repository':
      return { scope: `v1:${operation.repository}`, items: 'all' };
    default:
      return null;
  }
}
