import type { Config } from '../../config/schema/schema.ts';
import { createBulkhead } from '../../pipeline/routes/bulkhead.ts';
import { createInnerNames } from '../../pipeline/routes/inner-names.ts';
import { createListedRegistry, type ListedRegistry } from '../../pipeline/routes/listed-registries.ts';
import { createRoutes, type Routes } from '../../pipeline/routes/routes.ts';
import { createRouteTable } from '../../pipeline/routes/route-table.ts';
import { openRegistry, type OpenRegistry, type RegistryOptions } from './open-registry.ts';

type ConfiguredRoute = Config['routes'][number];

/** The registries of the routes, and what sends requests to them. */
export type OpenRoutes = {
  readonly routes: Routes;
  readonly registries: readonly OpenRegistry[];
  /** All of them with `upstream`, as lists of repositories need them. */
  readonly listed: readonly ListedRegistry[];
};

/**
 * Opens the registries of all routes.
 * @param upstream the registry that answers for what no route matches
 */
export async function openRoutes(
  upstream: OpenRegistry,
  options: Omit<RegistryOptions, 'at' | 'ca' | 'routed' | 'inUse'>,
): Promise<OpenRoutes | null> {
  const { config, pem } = options.state;
  if (config.routes.length === 0) return null;
  const registries = await Promise.all(
    config.routes.map(async (route) => {
      const { upstream: at } = route;
      const description = describeRegistry(route);
      const bulkhead = createBulkhead({
        name: route.name,
        description,
        maxRequests: config.limits.routeRequests,
        maxFailures: config.limits.routeFailures,
        pauseMs: config.limits.routePause,
        now: options.now,
        logger: options.shared.logger,
      });
      const routed = {
        ...{ bulkhead, description, url: at.url, isMirror: route.readOnly },
        names: createInnerNames(route.stripPrefix),
        sourceTimeoutMs: config.limits.routeSourceTimeout,
      };
      const ca = at.ca === null ? null : (pem.routeCas[at.ca] ?? null);
      return { route, registry: await openRegistry({ ...options, at, ca, routed, inUse: null }) };
    }),
  );
  const byName = new Map(registries.map(({ route, registry }) => [route.name, registry]));
  const table = createRouteTable(config.routes, new Set(pem.names.map((name) => name.toLowerCase())));
  return {
    routes: createRoutes(table, (route) => (byName.get(route?.name ?? '') ?? upstream).serve),
    registries: registries.map(({ registry }) => registry),
    listed: [
      createListedRegistry(table, null, upstream),
      ...registries.map(({ route, registry }) => createListedRegistry(table, route, registry)),
    ],
  };
}

/** What clients are told a route's registry is, as the beginning of a sentence. */
function describeRegistry({ name, namespaces }: ConfiguredRoute): string {
  return namespaces.length === 0
    ? `The registry of the route ${name}`
    : `The mirror of ${namespaces.join(' and ')} (route ${name})`;
}
