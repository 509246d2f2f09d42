import type { CanonicalTarget } from '../../registry/target.ts';
import type { Exchange } from '../exchange.ts';
import type { Serve, ServedRequest } from '../serve/serve.ts';
import { withinRoute } from './inner-names.ts';
import { checkRoute, type NamedTarget, type Route, type RouteTable } from './route-table.ts';

/** The registries behind Tidegate beside `upstream`. */
export type Routes = {
  /** See {@link RouteTable.nameOuter}. */
  name(exchange: Exchange, target: CanonicalTarget): NamedTarget;
  /** Answers an authorized request from the registry of its repository. @throws OciError */
  serve(exchange: Exchange, request: ServedRequest, named: NamedTarget | null): Promise<void>;
};

/** @param serveOf answers for a route, or for `upstream` (null) */
export function createRoutes(table: RouteTable, serveOf: (route: Route | null) => Serve): Routes {
  return {
    name: (exchange, target) => {
      const named = table.nameOuter(exchange, target);
      exchange.outerName = named.outerName;
      exchange.outerTarget = named.target.raw;
      return named;
    },
    serve: (exchange, request, named) => {
      const { operation, authentication, authorized } = request;
      const route = 'repository' in operation ? table.find(operation.repository) : null;
      exchange.upstream = route?.name ?? null;
      checkRoute(route, operation, { rawTarget: authorized.rawTarget, named: named?.route ?? null });
      const rawTarget = withinRoute(table, route, operation, authorized.rawTarget);
      if (route === null && rawTarget === authorized.rawTarget) return serveOf(null)(exchange, request);
      // A registry behind a route gives no credentials, and gets none.
      const keepAuthorization = authentication.keepAuthorization && route === null;
      return serveOf(route)(exchange, {
        ...request,
        authentication: { ...authentication, keepAuthorization },
        authorized: { ...authorized, rawTarget },
      });
    },
  };
}
