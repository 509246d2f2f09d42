import { accessOf } from './access.ts';
import { changeOf } from './change.ts';
import type { Operation } from './operation.ts';

/** A request that could move or delete tags, or delete what they name. */
export type TagChange =
  | {
      readonly kind: 'push';
      readonly repository: string;
      /** The digest that the path names; null: it names a tag. */
      readonly digest: string | null;
      /** The tag that the path names; null: it names a digest. */
      readonly tag: string | null;
      /** All values of `tag` in the query, valid or not (distribution-spec, "Pushing Manifests With Tags"). */
      readonly queryTags: readonly string[];
      readonly isV1: boolean;
    }
  | { readonly kind: 'delete-tag'; readonly repository: string; readonly tag: string }
  | {
      readonly kind: 'delete-digest';
      readonly repository: string;
      readonly digest: string;
      readonly object: 'manifest' | 'blob';
    }
  /** Deletes all tags of the repository (v1). */
  | { readonly kind: 'delete-all'; readonly repository: string };

/**
 * Finds what a request other than GET, HEAD and OPTIONS could do to tags; null for nothing. `unknown`: it is not a
 * request of the registry API, and only upstream knows its effect.
 */
export function tagChangeOf(operation: Operation): TagChange | 'unknown' | null {
  const access = accessOf(operation);
  if (access === null) return isBelowRepositories(operation) ? 'unknown' : null;
  if (access.kind !== 'repository' || access.action === 'pull' || access.upload !== null) return null;
  const { repository, action } = access;
  const change = changeOf(operation);
  if (action === 'push') {
    // Without a tag or a digest: v1's list of a repository's images, and the like.
    if (change === null) return null;
    const { tag, digest, isV1 } = change;
    const { queryTags } = 'queryTags' in operation ? operation : { queryTags: [] };
    return { kind: 'push', repository, digest, tag, queryTags, isV1 };
  }
  const { tag = null, digest = null, object } = change ?? {};
  if (tag !== null) return { kind: 'delete-tag', repository, tag };
  if (digest !== null)
    return { kind: 'delete-digest', repository, digest, object: object === 'blob' ? 'blob' : 'manifest' };
  return { kind: 'delete-all', repository };
}

/** Whether its path lies below `/v2/` or `/v1/repositories/`. */
function isBelowRepositories(operation: Operation): boolean {
  switch (operation.kind) {
    case 'misnamed':
    case 'unknown':
      return operation.space !== 'other';
    case 'open':
    case 'root':
    case 'console':
    case 'outside':
    case 'v1-login':
    case 'v1-search':
    case 'v1-image':
      return false;
    default:
      return true;
  }
}
