/** How findings about a registry are named, and its keys in the configuration. */
export type RegistryNames = {
  /** The beginning of its checks' names. */
  readonly group: string;
  /** The route whose registry it is; null: it is `upstream`. */
  readonly route: string | null;
  /** A key of its section `upstream`. */
  readonly key: (member: string) => string;
};

export const namesOfUpstream: RegistryNames = {
  group: 'upstream',
  route: null,
  key: (member) => `upstream.${member}`,
};

export function namesOfRoute(route: string): RegistryNames {
  return { group: `route.${route}`, route, key: (member) => `routes: ${route}: upstream.${member}` };
}
