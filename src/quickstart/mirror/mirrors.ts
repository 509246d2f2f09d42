import { OperatorError } from '../../system/operator-error.ts';
import type { MirrorSource } from '../../cli/mirror/mirror-source.ts';
import {
  findRegistryStarter,
  type FoundRegistry,
  type RegistryStarterOptions,
} from '../registry/registry-starter.ts';
import { loadMirrorCredentials, type MirrorCredentials } from './mirror-credentials.ts';

/** A mirror that `npm start` has started. */
export type StartedMirror = { readonly source: MirrorSource; readonly registry: FoundRegistry };

export type MirrorOptions = RegistryStarterOptions & {
  readonly sources: readonly MirrorSource[];
  /** Null: the sources are pulled from without credentials. */
  readonly credentialsPath: string | null;
  /** Of the configuration; what one of them mirrors is not started. */
  readonly routes: readonly { readonly name: string; readonly namespaces: readonly string[] }[];
};

/**
 * Checks the mirrors that are to be started. The returned function starts them, and hands each to `onStart`.
 * @throws OperatorError
 */
export async function findMirrors(
  options: MirrorOptions,
): Promise<(onStart: (mirror: StartedMirror) => void) => Promise<void>> {
  const { sources, credentialsPath, routes } = options;
  const credentials =
    credentialsPath === null
      ? new Map<string, MirrorCredentials>()
      : await loadMirrorCredentials(credentialsPath);
  for (const source of credentials.keys()) {
    if (sources.some(({ namespace }) => namespace === source)) continue;
    throw new OperatorError(
      `--mirror-credentials: ${credentialsPath} has credentials for ${source}, which --mirror does not name.`,
    );
  }
  const isConfigured = ({ namespace }: MirrorSource) =>
    routes.some(({ namespaces }) => namespaces.includes(namespace));
  const wanted = sources.filter((source) => !isConfigured(source));
  for (const [index, { namespace, route }] of wanted.entries()) {
    if (
      ![...routes.map(({ name }) => name), ...wanted.slice(0, index).map((each) => each.route)].includes(
        route,
      )
    )
      continue;
    throw new OperatorError(
      `--mirror: ${namespace} would be the route ${route}, and there is one of that name already: configure it in routes.`,
    );
  }
  if (wanted.length === 0) return () => Promise.resolve();
  const start = await findRegistryStarter(options, 'No registry can be started as a mirror');
  return async (onStart) => {
    for (const source of wanted) {
      const { route, namespace, url } = source;
      const proxy = { url, credentials: credentials.get(namespace) ?? null };
      const registry = await start({ name: `mirror-${route}`, title: `Mirror of ${namespace}:`, proxy });
      onStart({ source, registry });
    }
  };
}

/** Gives the route of a mirror, as in the configuration. */
export function describeRoute({ source, registry }: StartedMirror): unknown {
  const { route, namespace } = source;
  return {
    name: route,
    repositories: [`${route}/**`],
    stripPrefix: route,
    namespaces: [namespace],
    readOnly: true,
    // A source that accepts requests and answers none would hold each for 900 s.
    upstream: { url: registry.url, storage: registry.storage, readTimeout: '60s' },
  };
}
