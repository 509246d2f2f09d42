import { digestForm } from '../registry/digest.ts';
import type { Route } from '../registry/route.ts';
import type { CanonicalTarget } from '../registry/target.ts';

/** What may be answered from the cache: whose it is, and whether upstream chooses its form by Accept. */
export type Cacheable = {
  readonly scope: string;
  readonly item: string;
  readonly kind: 'tag' | 'digest' | 'v1';
};

/** What a write makes out of date. */
export type Written = { readonly scope: string; readonly items: readonly string[] | 'all' };

const v1Image = /^\/v1\/images\/([^/]+)\/(?:json|ancestry)$/;
// Both take as little as they can for the repository, so that a read and a write of one path name the same scope.
const v1Tags = /^\/v1\/repositories\/([^/]+(?:\/[^/]+)??)\/tags(?:\/[^/]+)?$/;
const v1ImageAny = /^\/v1\/images\/([^/]+)\//;
const v1RepositoryAny =
  /^\/v1\/repositories\/([^/]+(?:\/[^/]+)??)(?:\/(?:tags|images|auth|properties|json)?(?:\/.*)?)?$/;

/**
 * Names what a GET or HEAD may be answered from: manifests and indexes, and the first protocol's small files. Everything else
 * (layers, uploads, lists, referrers, anything with a query) is always upstream's to answer.
 */
export function parseCacheable(route: Route, target: CanonicalTarget): Cacheable | null {
  if (target.raw !== target.rawPath) return null;
  if (route.kind === 'manifest') {
    const { repository, reference } = route;
    return {
      scope: `v2:${repository}`,
      item: reference,
      kind: digestForm.test(reference) ? 'digest' : 'tag',
    };
  }
  const image = v1Image.exec(target.path)?.[1];
  if (image !== undefined) return { scope: `v1-image:${image}`, item: target.path, kind: 'v1' };
  const repository = v1Tags.exec(target.path)?.[1];
  if (repository !== undefined) return { scope: v1Scope(repository), item: target.path, kind: 'v1' };
  return null;
}

/** A write by its path, and what it makes out of date. */
type WriteRow = {
  readonly path: RegExp;
  /** @param name what the path's first group names; `isAlone`: nothing in the query */
  readonly written: (name: string, reference: string, isAlone: boolean, method: string) => Written;
};

/** Every path that can be written to, with any method, so that what is kept may be out of date; the first that fits decides. */
const writes: readonly WriteRow[] = [
  {
    // With `s`, as everything that is a manifest's to the route.
    path: /^\/v2\/(.+)\/manifests\/([^/]+)$/s,
    written: (repository, reference, isAlone, method) => {
      // A digest's end takes every tag on it along; and a query can name tags (`?tag=`).
      const onlyItself = isAlone && (method === 'PUT' || !digestForm.test(reference));
      return { scope: `v2:${repository}`, items: onlyItself ? [reference] : 'all' };
    },
  },
  {
    // A registry can keep a manifest's bytes as a blob, too: the end of the one is that of the other, and of every tag on it.
    path: /^\/v2\/(.+)\/blobs\/([^/]+)$/s,
    written: (repository) => ({ scope: `v2:${repository}`, items: 'all' }),
  },
  { path: v1ImageAny, written: (image) => ({ scope: `v1-image:${image}`, items: 'all' }) },
  { path: v1RepositoryAny, written: (repository) => ({ scope: v1Scope(repository), items: 'all' }) },
];

/** Names what a request that is none of GET, HEAD and OPTIONS makes out of date; null for nothing that is ever kept. */
export function parseWritten(method: string, target: CanonicalTarget): Written | null {
  for (const { path, written } of writes) {
    const [, name, reference = ''] = path.exec(target.path) ?? [];
    if (name !== undefined) return written(name, reference, target.raw === target.rawPath, method);
  }
  return null;
}

/** The first protocol writes `library/NAME` also as `NAME`. */
function v1Scope(repository: string): string {
  return `v1:${repository.includes('/') ? repository : `library/${repository}`}`;
}
