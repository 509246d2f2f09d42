import { lookup } from 'node:dns/promises';
import { realpath } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Config } from '../../config/schema/schema.ts';
import type { Check } from '../check.ts';
import { ok, warning, type Finding } from '../finding.ts';
import { namesOfRoute, namesOfUpstream, type RegistryNames } from './registry-names.ts';
import { checkStorage } from './storage-space.ts';
import { createUpstreamChecks, readPlace } from './upstream.ts';

/** A registry with where it leads to; null: not known. */
export type FoundRegistry = {
  readonly names: RegistryNames;
  readonly url: string;
  /** The address and port that the URL leads to. */
  readonly address: string | null;
  /** The real path of its storage. */
  readonly storage: string | null;
};

const apartId = 'routes.apart';

/** The checks of the registries of routes, to be run at once: one that hangs keeps no other waiting. */
export function createRouteChecks(config: Pick<Config, 'routes' | 'upstream'>): Check[] {
  const { routes, upstream } = config;
  if (routes.length === 0) return [];
  const ofRoutes = routes.flatMap((route): Check[] => {
    const names = namesOfRoute(route.name);
    const { storage } = route.upstream;
    const storageIds = [`${names.group}.readable`, `${names.group}.space`] as const;
    const checks = createUpstreamChecks(route.upstream, names, route);
    if (storage === null) return checks;
    return [
      ...checks,
      {
        ids: [...storageIds],
        limitMs: 5000,
        fix: 'is the disk or the network file system there?',
        run: () => checkStorage(storage, storageIds, names.key('storage')),
      },
    ];
  });
  return [
    ...ofRoutes,
    {
      ids: [apartId],
      limitMs: 5000,
      fix: 'do the names in upstream.url of all routes resolve?',
      run: async () => {
        const registries = [
          { names: namesOfUpstream, upstream },
          ...routes.map((route) => ({ names: namesOfRoute(route.name), upstream: route.upstream })),
        ];
        return [judgeApart(await Promise.all(registries.map(findRegistry)))];
      },
    },
  ];
}

async function findRegistry({
  names,
  upstream: { url, storage },
}: {
  readonly names: RegistryNames;
  readonly upstream: Config['upstream'];
}): Promise<FoundRegistry> {
  const { host, port } = readPlace(url);
  const address = await lookup(host).then(
    (found) => `${found.address}, port ${port}`,
    () => null,
  );
  return { names, url, address, storage: storage && (await realpath(storage).catch(() => null)) };
}

/** Judges whether two routes lead to one registry under two URLs: the configuration refuses only equal ones. */
export function judgeApart(registries: readonly FoundRegistry[]): Finding {
  const pairs = registries.flatMap((one, index) =>
    registries.slice(0, index).map((other) => [other, one] as const),
  );
  for (const [one, other] of pairs) {
    const keys = (member: string) => `${one.names.key(member)} and ${other.names.key(member)}`;
    if (one.storage !== null && one.storage === other.storage)
      return warning(
        apartId,
        `${keys('storage')} are one folder, ${one.storage}: what is pushed by one name can be stale by the other.`,
        `one registry cannot have two names: remove one of ${keys('storage')}, or its route`,
      );
    // Behind one address a proxy may tell several registries apart by their names.
    const isNamed = [one, other].every(({ url }) => hasName(url));
    if (one.address !== null && one.address === other.address && !isNamed)
      return warning(
        apartId,
        `${keys('url')} lead to one place (${one.address}): what is pushed by one name can be stale by the other.`,
        `one registry cannot have two names: remove one of the two, if it is one registry`,
      );
  }
  return ok(apartId, 'As far as can be seen, each route leads to a registry of its own.');
}

function hasName(url: string): boolean {
  const { host } = readPlace(url);
  return host !== 'localhost' && isIP(host) === 0;
}
