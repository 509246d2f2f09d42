import { nameV1Repository } from './access.ts';
import { parseQuery } from './query.ts';
import type { CanonicalTarget } from './target.ts';

/**
 * What may not meet at upstream, which does not keep it apart itself: a delete, and what reads or writes in the same repository meanwhile. A
 * tag that moves away from a digest goes with that digest's delete, and what is asked for is remembered as being there.
 */
export type Race =
  | { readonly kind: 'delete'; readonly repository: string }
  /** `from`: whether upstream may be at it as soon as it has the head, or only when it has all of the body. */
  | { readonly kind: 'other'; readonly repositories: readonly string[]; readonly from: 'head' | 'body' };

/** A request names one; who names more than a few means no mount. */
const maxSources = 8;

const content = /^\/v2\/(.+)\/(?:manifests|blobs)\/[^/]+$/s;
const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/s;
const v1 = /^\/v1\/repositories\/([^/]+(?:\/[^/]+)??)\/?(?:tags\/?|tags\/[^/]+)?$/;

/** Names what a request may not meet; null for one that may meet anything (lists, the parts of an upload). */
export function parseRace(method: string, target: CanonicalTarget): Race | null {
  const { path } = target;
  const repository = content.exec(path)?.[1] ?? readV1(path);
  if (repository !== undefined) {
    if (method === 'DELETE') return { kind: 'delete', repository };
    if (method === 'GET' || method === 'HEAD')
      return { kind: 'other', repositories: [repository], from: 'head' };
    return method === 'PUT' ? { kind: 'other', repositories: [repository], from: 'body' } : null;
  }
  const [, name, session] = (method === 'PUT' || method === 'POST' ? upload.exec(path) : null) ?? [];
  if (name === undefined) return null;
  if (method === 'PUT') return { kind: 'other', repositories: [name], from: 'body' };
  if (session !== '') return null;
  const fields = parseQuery(target);
  const valuesOf = (wanted: string) =>
    fields.filter((field) => field.name === wanted).map(({ value }) => value);
  if (valuesOf('mount').length > 0) {
    // Of several, any may be the one that upstream takes.
    const repositories = [...new Set([name, ...valuesOf('from')])].slice(0, maxSources);
    return { kind: 'other', repositories, from: 'head' };
  }
  // A whole blob in one request; without a digest it is an upload's beginning, in which there is nothing yet.
  return valuesOf('digest').length > 0 ? { kind: 'other', repositories: [name], from: 'body' } : null;
}

function readV1(path: string): string | undefined {
  const name = v1.exec(path)?.[1];
  return name === undefined ? undefined : nameV1Repository(name);
}
