import * as z from 'zod';
import { isPatternWithin, parseRepositoryPattern } from '../../../policy/repository-pattern.ts';
import { isRepositoryName } from '../../../registry/names/repository-name.ts';
import { key, tree } from '../types/key-type.ts';
import { routeUpstream } from './upstream-keys.ts';

const maxRoutes = 64;

const name = text(
  /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/,
  'is no name: lower-case letters, digits and "-", 32 at most',
);
const pattern = z.string().check((context) => {
  const fault = findPatternFault(context.value);
  if (fault === null) return;
  const message = `${JSON.stringify(context.value.slice(0, 60))} ${fault}`;
  context.issues.push({ code: 'custom', message, input: context.value });
});
const prefix = z.string().refine(isRepositoryName, "is no beginning of a repository's name, such as hub");
/** The `ns` of containerd and CRI-O: the host, and a port that is not the usual one. */
const namespace = text(
  /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[1-9][0-9]{0,4})?$/,
  'is no registry: write HOST or HOST:PORT in lower case, such as docker.io',
);
const host = text(
  /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/,
  'is no host name: write it in lower case, without port',
);

const route = z
  .strictObject({
    name,
    repositories: z.array(pattern).min(1),
    stripPrefix: prefix.nullable().prefault(null),
    namespaces: z.array(namespace).prefault([]),
    hosts: z.array(host).prefault([]),
    readOnly: z.boolean().prefault(false),
    requiredForReady: z.boolean().prefault(false),
    upstream: routeUpstream,
  })
  .check(({ value, issues }) => {
    const refuse = (path: (string | number)[], message: string) =>
      issues.push({ code: 'custom', message, input: value, path });
    const { stripPrefix, repositories, hosts, readOnly } = value;
    const strips = stripPrefix !== null && isRepositoryName(stripPrefix);
    for (const [index, each] of repositories.entries())
      if (strips && !each.startsWith(`${stripPrefix}/`))
        refuse(
          ['repositories', index],
          `${JSON.stringify(each)} must begin with "${stripPrefix}/", which stripPrefix takes off: write "${stripPrefix}/**"`,
        );
    if (hosts.length > 0 && !readOnly)
      refuse(['hosts'], 'needs readOnly: true, since clients that use a mirror by its host only pull');
  });

type Routes = readonly z.output<typeof route>[];

const routeList = z
  .array(route)
  .refine(({ length }) => length <= maxRoutes, `has more than ${maxRoutes} routes`)
  .check(({ value, issues }) => {
    for (const fault of findRepeats(value)) issues.push({ code: 'custom', input: value, ...fault });
  });

/** `routes`: several registries under one name. */
export const routes = key(
  {
    ...tree(
      routeList,
      'a list of routes { name, repositories, stripPrefix, namespaces, hosts, readOnly, requiredForReady, upstream: { url, … } }; name, repositories and upstream.url are required',
    ),
    pathMembers: ['upstream.ca', 'upstream.storage'],
    secretMembers: ['upstream.password'],
  },
  [],
  'Further registries behind Tidegate, such as mirrors. The first route one of whose patterns matches a repository answers for it; upstream answers for all others. stripPrefix: the beginning of the name that this registry does not know. namespaces: values of ns by which containerd and CRI-O ask for this mirror. hosts: host names by which dockerd asks for it. readOnly: nobody may write through it. requiredForReady: /readyz is 503 while this registry does not answer. upstream: as the section upstream.',
);

type Fault = { readonly path: (string | number)[]; readonly message: string };
type Registry = { readonly url: string; readonly storage: string | null };

/** Refuses a registry that has two names: a write by the one name would leave the cache wrong for the other. */
export function findRouteFaults({
  upstream,
  routes,
}: {
  readonly upstream: Registry;
  readonly routes: readonly { readonly name: string; readonly upstream: Registry }[];
}): Fault[] {
  const all = [{ name: null, upstream }, ...routes];
  return routes.flatMap(({ upstream: own }, index) =>
    (['url', 'storage'] as const).flatMap((member) => {
      const other = all
        .slice(0, index + 1)
        .find((earlier) => own[member] !== null && earlier.upstream[member] === own[member]);
      if (other === undefined) return [];
      const place = other.name === null ? `upstream.${member}` : `the route ${other.name}`;
      const message = `is that of ${place}, too: one registry cannot have two names here`;
      return [{ path: ['routes', index, 'upstream', member], message }];
    }),
  );
}

function findRepeats(list: Routes): Fault[] {
  return list.flatMap((own, index) => {
    const earlier = list.slice(0, index);
    const faults: Fault[] = [];
    if (earlier.some((other) => other.name === own.name))
      faults.push({ path: [index, 'name'], message: 'is the name of an earlier route, too' });
    for (const member of ['namespaces', 'hosts'] as const)
      for (const [at, each] of own[member].entries()) {
        const other = earlier.find((one) => one[member].includes(each));
        if (other !== undefined)
          faults.push({
            path: [index, member, at],
            message: `${JSON.stringify(each)} belongs to the route ${other.name}`,
          });
      }
    const taken = earlier.flatMap(({ repositories }) => repositories);
    const isShadowed = own.repositories.every((each) => taken.some((wider) => isPatternWithin(each, wider)));
    if (isShadowed && own.repositories.length > 0)
      faults.push({
        path: [index, 'repositories'],
        message: 'can never match: earlier routes match all of it. Put this route before them',
      });
    return faults;
  });
}

function findPatternFault(text: string): string | null {
  if (text.includes('$')) return 'has a "$": a route is the same for all users';
  try {
    parseRepositoryPattern(text);
    return null;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return error.message;
  }
}

function text(form: RegExp, fault: string) {
  return z.string().check((context) => {
    if (form.test(context.value)) return;
    const message = `${JSON.stringify(context.value.slice(0, 60))} ${fault}`;
    context.issues.push({ code: 'custom', message, input: context.value });
  });
}
