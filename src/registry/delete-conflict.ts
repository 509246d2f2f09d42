import type { Operation } from './operation.ts';

/**
 * Requests that must not run at the same time at upstream, which does not isolate them: a delete, and reads and writes
 * in the same repository. A tag that moves away from a digest is lost when that digest is deleted, and a blob that is
 * read during its delete is remembered as present.
 */
export type DeleteConflict =
  | { readonly kind: 'delete'; readonly repository: string }
  /** `from`: whether upstream may act on it from the end of its head, or only from the end of its body. */
  | { readonly kind: 'other'; readonly repositories: readonly string[]; readonly from: 'head' | 'body' };

/** A normal request names one; a request that names more than a few is no real mount. */
const maxSources = 8;

/** Finds the conflicts of a request; null for one without any (lists, the parts of an upload). */
export function deleteConflictOf(operation: Operation): DeleteConflict | null {
  const { method, reads } = operation;
  switch (operation.kind) {
    case 'manifest':
    case 'blob':
    case 'v1-repository': {
      const { repository } = operation;
      if (method === 'DELETE') return { kind: 'delete', repository };
      if (reads) return { kind: 'other', repositories: [repository], from: 'head' };
      return method === 'PUT' ? { kind: 'other', repositories: [repository], from: 'body' } : null;
    }
    case 'upload-session':
      return method === 'PUT' ? { kind: 'other', repositories: [operation.repository], from: 'body' } : null;
    case 'upload-start': {
      const { repository, hasMount, sources, hasDigest } = operation;
      if (method === 'PUT') return { kind: 'other', repositories: [repository], from: 'body' };
      if (hasMount) {
        // Upstream may use any of several.
        const repositories = [...new Set([repository, ...sources])].slice(0, maxSources);
        return { kind: 'other', repositories, from: 'head' };
      }
      // With a digest it is a whole blob in one request; without one an upload begins, which has no content yet.
      return hasDigest ? { kind: 'other', repositories: [repository], from: 'body' } : null;
    }
    default:
      return null;
  }
}
