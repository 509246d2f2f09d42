import { parseChange } from '../../../src/oci/change.ts';
import { OciError } from '../../../src/oci/error.ts';
import { parseRoute } from '../../../src/oci/route.ts';
import { parseTarget, type CanonicalTarget } from '../../../src/oci/target.ts';
import { parseCacheable, parseWritten } from '../../../src/cache/cacheable.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { values } from '../../support/http-message.ts';
import { authorized, clientHost, connectClient, type RawClient } from '../../support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { createRandom } from './random.ts';
import { registryMethod, registryPath, registryQuery } from './registry-targets.ts';
import { startTellingRegistry, type Resolution, type TellingRegistry } from './telling-registry.ts';

/** Asks a real registry through the front door, and compares what both took the requests for. */
export type ConfusionRig = {
  /** Gives the differences, in words, and how many requests the registry resolved to a repository. */
  compare(seed: number, count: number): Promise<{ faults: string[]; resolved: number }>;
  close(): Promise<void>;
};

type Asked = { readonly method: string; readonly raw: string; readonly target: CanonicalTarget | null };

const clientsAtOnce = 8;
/** What is refused costs its connection, and is only shown not to be forwarded. */
const refusedOnceIn = 20;
const openPaths = new Set(['/_ping', '/v1/_ping']);

export async function openConfusionRig(): Promise<ConfusionRig> {
  const registry = await startTellingRegistry();
  const frontDoor = await startFrontDoor({
    upstreamUrl: registry.url,
    set: [
      'cache.driver=off',
      'log.audit=false',
      'limits.refusedBodyTimeout=100ms',
      'log.accessFile=/dev/null',
    ],
  }).catch(async (error: unknown) => {
    await registry.stop();
    throw error;
  });
  return {
    compare: (seed, count) => compare(frontDoor, registry, seed, count),
    close: async () => {
      await frontDoor.stop();
      await registry.stop();
    },
  };
}

async function compare(frontDoor: FrontDoor, registry: TellingRegistry, seed: number, count: number) {
  const faults: string[] = [];
  const asked: Asked[] = [];
  const clients: RawClient[] = [];
  const ask = async ({ method, raw, target }: Asked) => {
    const client = clients.pop() ?? (await connectClient(frontDoor));
    const body = method === 'GET' || method === 'HEAD' ? [] : ['Content-Length: 0'];
    client.send(authorized(`${method} ${raw}`, ...body));
    const response = await client.response(method).catch((error: unknown) => {
      // What is no HTTP may be closed without a word, when the end of the answer before has not been seen there yet.
      if (target === null) return null;
      throw new Error(`${method} ${raw}: ${String(error)}`);
    });
    if (response === null) return;
    const [location] = values(response, 'location');
    if (location !== undefined && !isOurs(location)) faults.push(`${method} ${raw}: Location ${location}`);
    if (values(response, 'connection')[0] === 'close') client.leave();
    else clients.push(client);
  };
  await atOnce(clientsAtOnce, drawRequests(seed, count), async (request) => {
    asked.push(request);
    await ask(request);
  });
  const marker = '/v2/_catalog?marker';
  const told = registry.told(marker);
  await ask({ method: 'GET', raw: marker, target: null });
  await told;
  for (const client of clients) client.leave();
  // A 500 may be the registry's own, as for a tag with a colon.
  for (const line of frontDoor.log) if (Number(line['level']) >= 50) faults.push(JSON.stringify(line));
  let resolved = 0;
  for (const request of asked) {
    const resolution = registry.resolutions.get(request.raw);
    if (request.target === null) {
      if (registry.targets.has(request.raw)) faults.push(`${request.method} ${request.raw}: forwarded`);
    } else if (resolution?.name != null) {
      resolved += 1;
      const fault = findDifference(request.method, request.target, resolution);
      if (fault !== null)
        faults.push(`${request.method} ${request.raw}: ${fault}; the registry: ${describe(resolution)}`);
    }
  }
  registry.forget();
  return { faults, resolved };
}

function* drawRequests(seed: number, count: number): Generator<Asked> {
  const random = createRandom(seed);
  for (let i = 0; i < count;) {
    const one = random.fork(i);
    const method = registryMethod(one);
    const query = one.onceIn(2) ? registryQuery(one) : '';
    // Its number makes each target another, by which it is found in what the registry tells.
    const path = registryPath(one).replace(/[\0-\x20]/g, '');
    const raw = `${path}${path.includes('?') ? '&' : '?'}${query}&fz=${seed}.${i}`;
    const target = parse(raw);
    i += 1;
    if (target === null && !one.onceIn(refusedOnceIn)) continue;
    yield { method, raw, target };
  }
}

function parse(raw: string): CanonicalTarget | null {
  try {
    return parseTarget(raw);
  } catch (error) {
    if (error instanceof OciError) return null;
    throw error;
  }
}

/** In words, where what is decided here is about something else than what the registry did. */
function findDifference(method: string, target: CanonicalTarget, registry: Resolution): string | null {
  const route = parseRoute(method, target, openPaths);
  const ours = JSON.stringify(route);
  if (route.kind === 'open' || route.kind === 'outside' || route.kind === 'version-check')
    return `here it is ${ours}`;
  if ((route.kind === 'manifest') !== (registry.reference !== null)) return `here it is ${ours}`;
  if (route.kind === 'manifest') {
    if (route.repository !== registry.name || route.reference !== registry.reference)
      return `here it is ${ours}`;
    const plainTarget = { ...target, raw: target.rawPath };
    if (parseCacheable(route, plainTarget)?.scope !== `v2:${registry.name}`)
      return 'another scope of the cache';
    if (parseWritten(method, route, target)?.scope !== `v2:${registry.name}`)
      return 'another scope of the cache';
  }
  if (route.kind === 'blob') {
    const digest = `${route.algorithm}:${route.hex}`;
    if (route.repository !== registry.name || digest !== registry.digest) return `here it is ${ours}`;
  }
  const change = parseChange(method, route, target);
  if (change !== null && change.repository !== registry.name) return `the audit has ${change.repository}`;
  if (change?.object === 'blob' && change.digest !== registry.digest)
    return `the audit has ${change.digest ?? ''}`;
  if (
    change === null &&
    method === 'DELETE' &&
    registry.digest !== null &&
    /^sha256:[0-9a-f]{64}$/.test(registry.digest)
  )
    return 'the audit has nothing';
  return null;
}

function isOurs(location: string): boolean {
  return location.startsWith(`https://${clientHost}/`) || /^\/(?![/\\])/.test(location);
}

function describe({ name, reference, digest, upload, touched }: Resolution): string {
  return JSON.stringify({ name, reference, digest, upload, touched: [...touched] });
}
