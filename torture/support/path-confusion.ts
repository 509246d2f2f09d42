import { accessOf } from '../../src/registry/access.ts';
import { changeOf } from '../../src/registry/change.ts';
import { OciError } from '../../src/registry/error.ts';
import { parseMount } from '../../src/registry/mount.ts';
import { parseOperation } from '../../src/registry/operation.ts';
import { parseTarget, type CanonicalTarget } from '../../src/registry/target.ts';
import { cacheableOf, writtenOf } from '../../src/cache/cacheable.ts';
import { startFrontDoor, type FrontDoor, type FrontDoorOptions } from '../../test/support/front-door.ts';
import { values } from '../../test/support/http-message.ts';
import { authorized, clientHost, connectClient, type RawClient } from '../../test/support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { besideHealthyClient } from './beside.ts';
import { createRandom } from './random.ts';
import { mountForm, registryMethod, registryPath, registryQuery, uploadStart } from './registry-targets.ts';
import { markOf, startTellingRegistry, type Resolution, type TellingRegistry } from './telling-registry.ts';

/** Sends requests through Tidegate to a real registry, and compares how both read them. */
export type ConfusionRig = {
  /** Gives the differences, in words, how many requests the registry resolved to a repository, and how many had it look into another one. */
  compare(
    seed: number,
    count: number,
  ): Promise<{ faults: string[]; asked: number; resolved: number; mounted: number }>;
  close(): Promise<void>;
};

type Asked = {
  readonly method: string;
  readonly raw: string;
  readonly mark: string;
  /** Null: it must be refused. */
  readonly target: CanonicalTarget | null;
  /** Whether it goes to Tidegate with the policy. */
  readonly isRuled: boolean;
  /** A body with its type, for a form. */
  readonly form: { readonly type: string; readonly body: string } | null;
};

const clientsAtOnce = 8;
/** A refused request closes its connection; the trial only checks that it is not forwarded. */
const refusedOnceIn = 20;
/** The request of a bystander. */
const versionCheck = { target: '/v2/', bytes: Buffer.from('{}') };
const openPaths = new Set(['/_ping', '/v1/_ping']);
/** A repository with a blob, where nobody may do anything. */
const secret = 'secret';
const policy = `
policy:
  - { who: [authenticated], repositories: ["${secret}", "${secret}/**"], actions: [] }
  - { who: [authenticated], repositories: ["**"], actions: [pull, push, delete] }
`;

export async function openConfusionRig(): Promise<ConfusionRig> {
  const registry = await startTellingRegistry();
  const common: FrontDoorOptions = {
    upstreamUrl: registry.url,
    set: [
      'cache.driver=off',
      'log.audit=false',
      'limits.refusedBodyTimeout=100ms',
      'log.accessFile=/dev/null',
    ],
  };
  const opened: FrontDoor[] = [];
  const close = async () => {
    for (const frontDoor of opened) await frontDoor.stop();
    await registry.stop();
  };
  try {
    await storeSecret(registry.url);
    const open = await startFrontDoor(common);
    opened.push(open);
    const ruled = await startFrontDoor({ ...common, config: policy });
    opened.push(ruled);
    return {
      compare: (seed, count) =>
        besideHealthyClient(open, versionCheck, clientsAtOnce, () =>
          besideHealthyClient(ruled, versionCheck, clientsAtOnce, () =>
            compare({ open, ruled }, registry, seed, count),
          ),
        ),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Puts the blob of a mount straight into the secret repository, bypassing Tidegate. */
async function storeSecret(url: string): Promise<void> {
  const { headers } = await fetch(`${url}/v2/${secret}/app/blobs/uploads/`, { method: 'POST' });
  const { status } = await fetch(`${headers.get('location') ?? ''}&digest=${mountForm.digest}`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/octet-stream' },
    body: mountForm.content,
  });
  if (status !== 201) throw new Error(`the registry did not take the blob: ${status}`);
}

async function compare(
  doors: Readonly<Record<'open' | 'ruled', FrontDoor>>,
  registry: TellingRegistry,
  seed: number,
  count: number,
) {
  const faults: string[] = [];
  const asked: Asked[] = [];
  const idle: Record<keyof typeof doors, RawClient[]> = { open: [], ruled: [] };
  const ask = async ({ method, raw, target, isRuled, form }: Asked) => {
    const door = isRuled ? 'ruled' : 'open';
    const client = idle[door].pop() ?? (await connectClient(doors[door]));
    const body = method === 'GET' || method === 'HEAD' ? [] : [`Content-Length: ${form?.body.length ?? 0}`];
    if (form !== null) body.push(`Content-Type: ${form.type}`);
    client.send(authorized(`${method} ${raw}`, ...body), form?.body ?? '');
    const response = await client.response(method).catch((error: unknown) => {
      // What is no HTTP may be closed without a word, when the end of the answer before has not been seen there yet.
      if (target === null) return null;
      throw new Error(`${method} ${raw}: ${String(error)}`);
    });
    if (response === null) return;
    const [location] = values(response, 'location');
    if (location !== undefined && !isOurs(location)) faults.push(`${method} ${raw}: Location ${location}`);
    if (values(response, 'connection')[0] === 'close') client.leave();
    else idle[door].push(client);
  };
  await atOnce(clientsAtOnce, drawRequests(seed, count), async (request) => {
    asked.push(request);
    await ask(request);
  });
  const mark = `${seed}.${count}`;
  const told = registry.told(mark);
  await ask({ ...plainRequest, raw: `/v2/_catalog?mark=${mark}`, mark });
  await told;
  for (const client of [...idle.open, ...idle.ruled]) client.leave();
  // A 500 may be the registry's own, as for a tag with a colon.
  for (const line of [...doors.open.log, ...doors.ruled.log])
    if (Number(line['level']) >= 50) faults.push(JSON.stringify(line));
  let resolved = 0;
  let mounted = 0;
  for (const request of asked) {
    const resolution = registry.resolutions.get(request.mark);
    const fault = (what: string) =>
      faults.push(
        `${request.isRuled ? 'ruled' : 'open'} ${request.method} ${request.raw} ${JSON.stringify(request.form)}: ${what}`,
      );
    if (request.target === null) {
      if (registry.marks.has(request.mark)) fault('it was forwarded');
    } else if (resolution?.name != null) {
      resolved += 1;
      if (!request.isRuled && resolution.touched.size > 1) mounted += 1;
      const difference =
        findDifference(request.method, request.target, resolution) ??
        (request.isRuled ? findTrespass(request.method, request.target, resolution) : null);
      if (difference !== null) fault(`${difference}; the registry: ${describe(resolution)}`);
    }
  }
  registry.forget();
  return { faults, asked: asked.length, resolved, mounted };
}

const plainRequest = { method: 'GET', target: null, isRuled: false, form: null } as const;

function* drawRequests(seed: number, count: number): Generator<Asked> {
  const random = createRandom(seed);
  for (let i = 0; i < count; i += 1) {
    const one = random.fork(i);
    const isMount = one.onceIn(12);
    const method = isMount ? 'POST' : registryMethod(one);
    const query = isMount || one.onceIn(2) ? registryQuery(one) : '';
    const path = isMount ? uploadStart(one) : registryPath(one).replace(/[\0-\x20]/g, '');
    const mark = `${seed}.${i}`;
    const raw = `${path}${path.includes('?') ? '&' : '?'}${query}&mark=${mark}`;
    const target = parse(raw);
    if (markOf(raw) !== mark || (target === null && !one.onceIn(refusedOnceIn))) continue;
    const mayHaveForm = method === 'POST' || method === 'PUT' || method === 'PATCH';
    const form = mayHaveForm && one.onceIn(2) ? mountForm.draw(one) : null;
    yield { method, raw, mark, target, isRuled: one.onceIn(2), form };
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

/** Describes where Tidegate decided about something other than what the registry did. */
function findDifference(method: string, target: CanonicalTarget, registry: Resolution): string | null {
  const operation = parseOperation(method, target, openPaths);
  const here = `here it is ${JSON.stringify(operation)}`;
  if (['open', 'outside', 'version-check'].includes(operation.kind)) return here;
  if ((operation.kind === 'manifest') !== (registry.reference !== null)) return here;
  if (operation.kind === 'manifest') {
    if (operation.repository !== registry.name || operation.reference !== registry.reference) return here;
    const cacheable = cacheableOf({ ...operation, reads: true, hasQuery: false }, target.path);
    const written = writtenOf({ ...operation, method: 'PUT', reads: false });
    const scope = `v2:${registry.name}`;
    if (cacheable?.scope !== scope || written?.scope !== scope) return 'the cache has another scope';
  }
  if (operation.kind === 'blob' && operation.reads && operation.stored !== null) {
    if (operation.repository !== registry.name || operation.digest !== registry.digest) return here;
  }
  const change = changeOf(operation);
  if (change !== null && change.repository !== registry.name) return `the audit has ${change.repository}`;
  if (change?.object === 'blob' && change.digest !== registry.digest)
    return `the audit has ${String(change.digest)}`;
  if (change === null && method === 'DELETE' && wholeDigest.test(registry.digest ?? ''))
    return 'the audit has nothing';
  return null;
}

const wholeDigest = /^sha256:[0-9a-f]{64}$/;

/** Describes what the registry did without a decision of the policy. */
function findTrespass(method: string, target: CanonicalTarget, registry: Resolution): string | null {
  const access = accessOf(parseOperation(method, target, openPaths));
  if (access === null) return 'the policy takes it for nothing, and it was forwarded';
  if (access.kind !== 'repository') return `the policy takes it for ${JSON.stringify(access)}`;
  const { repository, action, upload } = access;
  if (repository !== registry.name) return `the policy takes it for ${JSON.stringify(access)}`;
  if (action !== actionOf(method, registry)) return `the policy takes it for ${JSON.stringify(access)}`;
  const allowed = new Set([repository, ...(upload === 'start' ? [parseMount(target)?.from] : [])]);
  const further = [...registry.touched].filter((name) => !allowed.has(name));
  if (further.length > 0) return `it looked into ${further.join(', ')}`;
  const hidden = [repository, ...registry.touched].filter((name) => /^secret(?:\/|$)/.test(name));
  return hidden.length > 0 ? `it looked into ${hidden.join(', ')}` : null;
}

/** The effect of a method by the specification. */
function actionOf(method: string, { upload }: Resolution): string {
  if (upload !== null) return 'push';
  if (method === 'GET' || method === 'HEAD') return 'pull';
  return method === 'DELETE' ? 'delete' : 'push';
}

function isOurs(location: string): boolean {
  return location.startsWith(`https://${clientHost}/`) || /^\/(?![/\\])/.test(location);
}

function describe({ name, reference, digest, upload, touched }: Resolution): string {
  return JSON.stringify({ name, reference, digest, upload, touched: [...touched] });
}
