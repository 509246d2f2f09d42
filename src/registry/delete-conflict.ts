import type { Operation } from './operation.ts';

/**
 * What may not meet at upstream, which does not keep it apart itself: a delete, and what reads or writes in the same repository meanwhile. A
 * tag that moves away from a digest goes with that digest's delete, and what is asked for is remembered as being there.
 */
export type DeleteConflict =
  | { readonly kind: 'delete'; readonly repository: string }
  /** `from`: whether upstream may be at it as soon as it has the head, or only when it has all of the body. */
  | { readonly kind: 'other'; readonly repositories: readonly string[]; readonly from: 'head' | 'body' };

/** A request names one; who names more than a few means no mount. */
const maxSources = 8;

/** Names what a request may not meet; null for one that may meet anything (lists, the parts of an upload). */
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
        // Of several, any may be the one that upstream takes.
        const repositories = [...new Set([repository, ...sources])].slice(0, maxSources);
        return { kind: 'other', repositories, from: 'head' };
      }
      // A whole blob in one request; without a digest it is an upload's beginning, in which there is nothing yet.
      return hasDigest ? { kind: 'other', repositories: [repository], from: 'body' } : null;
    }
    default:
      return null;
  }
}
