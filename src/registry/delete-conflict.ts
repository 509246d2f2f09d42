import type { Operation } from './operation.ts';

/**
 * Requests that must not run at the same time at upstream, which does not isolate them: a delete, and reads and writes
 * in the same repository. A tag that moves away from a digest is lost when that digest is deleted, and a blob that is
 * read during its delete is remembered as present.
 */
export type DeleteConflict =
  | { readonly kind: 'delete'; readonly repository: string; readonly digests: readonly string[] }
  | {
      readonly kind: 'other';
      readonly repositories: readonly string[];
      /** What the request may read or write in all repositories, as `digestKey` has it; of a tag nothing is known. */
      readonly digests: readonly string[];
      /** Whether upstream may act on it from the end of its head, or only from the end of its body. */
      readonly from: 'head' | 'body';
    };

/** A normal request names one; a request that names more than a few is no real mount. */
const maxNamed = 8;
const sha256Form = /^sha256:[0-9a-f]{64}$/;

/** Finds the conflicts of a request; null for one without any (lists, the parts of an upload). */
export function deleteConflictOf(operation: Operation): DeleteConflict | null {
  const { method, reads } = operation;
  switch (operation.kind) {
    case 'manifest':
    case 'blob':
    case 'v1-repository': {
      const { repository } = operation;
      const digests = digestsOf(operation);
      if (method === 'DELETE') return { kind: 'delete', repository, digests };
      if (reads) return { kind: 'other', repositories: [repository], digests, from: 'head' };
      return method === 'PUT' ? { kind: 'other', repositories: [repository], digests, from: 'body' } : null;
    }
    case 'upload-session':
      return method === 'PUT' ? commit(operation.repository, operation.digests) : null;
    case 'upload-start': {
      const { repository, mounted, sources, digests } = operation;
      if (method === 'PUT') return commit(repository, digests);
      if (mounted.length > 0) {
        // Upstream may use any of several.
        const repositories = [...new Set([repository, ...sources])].slice(0, maxNamed);
        return { kind: 'other', repositories, digests: digestKeys([...mounted, ...digests]), from: 'head' };
      }
      // With a digest it is a whole blob in one request; without one an upload begins, which has no content yet.
      return digests.length > 0 ? commit(repository, digests) : null;
    }
    default:
      return null;
  }
}

function commit(repository: string, digests: readonly string[]): DeleteConflict {
  return { kind: 'other', repositories: [repository], digests: digestKeys(digests), from: 'body' };
}

function digestsOf(operation: Extract<Operation, { kind: 'manifest' | 'blob' | 'v1-repository' }>): string[] {
  if (operation.kind === 'blob') return [digestKey(operation.digest)];
  return operation.kind === 'manifest' && operation.digest !== null ? [digestKey(operation.digest)] : [];
}

/**
 * The key of a digest among those of repositories, which have no ":". All but sha256 share one: distribution 2.8 keeps
 * such content under its sha256, whatever the request calls it.
 */
export function digestKey(digest: string | null): string {
  return digest !== null && sha256Form.test(digest) ? digest : 'digest:other';
}

function digestKeys(digests: readonly string[]): string[] {
  if (digests.length === 0) return [digestKey(null)];
  return [...new Set(digests.slice(0, maxNamed).map(digestKey))];
}
