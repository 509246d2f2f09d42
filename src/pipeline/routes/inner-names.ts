import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { namesRepository, parseOperation, type Operation } from '../../registry/operation.ts';
import { parseQuery } from '../../registry/query.ts';
import { parseTarget } from '../../registry/target.ts';
import type { Route, RouteTable } from './route-table.ts';

/** The names by which a route's registry knows what clients know by outer names. */
export type InnerNames = {
  /**
   * A target that names no repository stays as it is.
   * @param outerTarget with the prefix as it is configured
   */
  target(outerTarget: string): string;
  repository(outer: string): string;
  outerRepository(inner: string): string;
  /** The reverse of `target`, for a path with its query; a path that names no repository stays as it is. */
  readonly outerPath: (path: string) => string;
};

/** @param prefix what the registry does not know of each name; null: it knows all of it */
export function createInnerNames(prefix: string | null): InnerNames {
  if (prefix === null) {
    const same = (name: string) => name;
    return { target: same, repository: same, outerRepository: same, outerPath: same };
  }
  const outerStart = `/v2/${prefix}/`;
  const repository = (outer: string) => outer.slice(prefix.length + 1);
  return {
    target: (outerTarget) => {
      if (!namesRepository(outerTarget)) return outerTarget;
      if (!outerTarget.startsWith(outerStart)) throw new Error('checkRoute lets no other spelling through');
      return nameSources(`/v2/${outerTarget.slice(outerStart.length)}`, repository);
    },
    repository,
    outerRepository: (inner) => `${prefix}/${inner}`,
    outerPath: (path) => (namesRepository(path) ? outerStart + path.slice('/v2/'.length) : path),
  };
}

/**
 * The target without the mount of a blob, if its source is behind another route: the client then uploads it. A registry
 * would look for the source's name in its own storage.
 * @param rawTarget what was authorized of the operation
 */
export function withinRoute(
  routes: RouteTable,
  route: Route | null,
  operation: Operation,
  rawTarget: string,
): string {
  if (operation.kind !== 'upload-start' || operation.sources.length === 0) return rawTarget;
  const sent = parseOperation(operation.method, parseTarget(rawTarget), new Set());
  if (sent.kind !== 'upload-start' || sent.mount === null || sent.sources.length === 0) return rawTarget;
  const { from, rawTargetWithout } = sent.mount;
  const isPlain = from !== null && isRepositoryName(from);
  const isWithin = sent.sources.every((source) => routes.find(source) === route);
  return isWithin && (isPlain || route === null) ? rawTarget : rawTargetWithout;
}

/** Names the source of a mount, in whatever spelling, as its registry does. */
function nameSources(rawTarget: string, repository: (outer: string) => string): string {
  if (!rawTarget.includes('?')) return rawTarget;
  const target = parseTarget(rawTarget);
  const fields = parseQuery(target);
  if (fields.every(({ name }) => name !== 'from')) return rawTarget;
  const inner = fields.map(({ text, name, value }) =>
    name === 'from' ? `from=${encodeURIComponent(repository(value))}` : text,
  );
  return `${target.rawPath}?${inner.join('&')}`;
}
