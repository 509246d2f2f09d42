import { OciError } from '../../registry/error.ts';
import { isRegistryPath, namesRepository, type Operation } from '../../registry/operation.ts';
import { parseQuery } from '../../registry/query.ts';
import { parseTarget, type CanonicalTarget } from '../../registry/target.ts';
import { parseGlob } from '../../policy/glob.ts';
import type { Exchange } from '../exchange.ts';

/** A further registry behind Tidegate, as configured. */
export type Route = {
  readonly name: string;
  /** Patterns of the repositories that it answers for. */
  readonly repositories: readonly string[];
  /** The beginning of the names that its registry does not know; null: none. */
  readonly stripPrefix: string | null;
  /** Values of `ns` by which containerd and CRI-O ask for it. */
  readonly namespaces: readonly string[];
  /** Host names by which dockerd asks for it. */
  readonly hosts: readonly string[];
  readonly readOnly: boolean;
};

/** Knows which registry answers for which repository. */
export type RouteTable = {
  /** The route of a repository, by its outer name; null: `upstream`. */
  find(repository: string): Route | null;
  /**
   * Names what the client asks for by its outer name: without `ns`, and with the prefix of the route that `ns` or the
   * host names.
   * @throws OciError BAD_REQUEST or NAME_UNKNOWN for an `ns` that names no route
   */
  nameOuter(exchange: Pick<Exchange, 'host' | 'publicName'>, target: CanonicalTarget): NamedTarget;
};

export type NamedTarget = {
  readonly target: CanonicalTarget;
  /** The route that `ns` or the host names; null: the repository's name decides. */
  readonly route: Route | null;
  /** See Exchange. */
  readonly outerName: ((repository: string) => string) | null;
};

/** @param ownNames the host names in the server's certificate, in lower case */
export function createRouteTable(routes: readonly Route[], ownNames: ReadonlySet<string>): RouteTable {
  const patterns = routes.map((route) => ({ route, globs: route.repositories.map(parseGlob) }));
  const byNamespace = new Map(routes.flatMap((route) => route.namespaces.map((ns) => [ns, route])));
  const byHost = new Map(routes.flatMap((route) => route.hosts.map((host) => [host, route])));
  return {
    find: (repository) =>
      patterns.find(({ globs }) => globs.some((glob) => glob.matches(repository)))?.route ?? null,
    nameOuter: ({ host, publicName }, asked) => {
      const reached = publicName.authority?.toLowerCase() ?? '';
      const { target, namespace } = takeNamespace(asked);
      const listed = namespace === null ? undefined : byNamespace.get(namespace);
      const isOwn =
        namespace === null ||
        (listed === undefined &&
          ([reached, host?.toLowerCase()].includes(namespace) || ownNames.has(withoutPort(namespace))));
      const named = isOwn ? byHost.get(withoutPort(reached)) : listed;
      if (named === undefined && !isOwn)
        throw new OciError('NAME_UNKNOWN', `There is no mirror of ${namespace.slice(0, 255)} here.`);
      return named === undefined
        ? { target, route: null, outerName: null }
        : {
            target: addPrefix(target, named.stripPrefix),
            route: named,
            outerName: isOwn ? (inner) => joinPrefix(named.stripPrefix, inner) : null,
          };
    },
  };
}

/**
 * Refuses what its route cannot do, before anything is looked up, or shared with others who ask for the same.
 * @throws OciError NAME_UNKNOWN, UNSUPPORTED or BAD_REQUEST
 */
export function checkRoute(
  route: Route | null,
  operation: Operation,
  { rawTarget, named }: { readonly rawTarget: string; readonly named: Route | null },
): void {
  if (named !== null && named !== route && 'repository' in operation)
    throw new OciError('NAME_UNKNOWN', `The route ${named.name} has no such repository.`);
  if (route === null) return;
  if (operation.kind === 'v1-repository')
    throw new OciError('NAME_UNKNOWN', `The route ${route.name} does not serve the first protocol.`);
  if (route.readOnly && !operation.reads && operation.method !== 'OPTIONS')
    throw new OciError('UNSUPPORTED', `The route ${route.name} is read-only: push to another repository.`, {
      headers: { Allow: 'GET, HEAD' },
    });
  const start = `/v2/${joinPrefix(route.stripPrefix, '')}`;
  if (!rawTarget.startsWith(start))
    throw new OciError('BAD_REQUEST', `Write "${start}" in the path without percent-encoding.`);
}

/** Takes `ns` out of the query: it says whom the client asks, and is no question to a registry. */
function takeNamespace(target: CanonicalTarget): { target: CanonicalTarget; namespace: string | null } {
  const { raw, rawPath, path } = target;
  if (raw === rawPath || !isRegistryPath(path)) return { target, namespace: null };
  const fields = parseQuery(target);
  const [namespace, ...others] = fields.flatMap(({ name, value }) => (name === 'ns' ? [value] : []));
  if (namespace === undefined) return { target, namespace: null };
  if (others.length > 0 || raw.includes(';'))
    throw new OciError('BAD_REQUEST', 'The request names several registries: send ns once, without ";".');
  const query = fields.flatMap(({ name, text }) => (name === 'ns' ? [] : [text])).join('&');
  return {
    target: { raw: query === '' ? rawPath : `${rawPath}?${query}`, rawPath, path },
    namespace: namespace.toLowerCase(),
  };
}

function addPrefix(target: CanonicalTarget, prefix: string | null): CanonicalTarget {
  if (prefix === null || !namesRepository(target.raw)) return target;
  return parseTarget(`/v2/${prefix}/${target.raw.slice('/v2/'.length)}`);
}

function joinPrefix(prefix: string | null, repository: string): string {
  return prefix === null ? repository : `${prefix}/${repository}`;
}

function withoutPort(authority: string): string {
  return authority.replace(/:[0-9]*$/, '');
}
