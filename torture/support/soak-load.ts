import { createHash, randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { dataPath } from '../../test/support/stored-blobs.ts';
import type { Judge } from './judge.ts';
import { createLoadClient, type LoadAnswer, type LoadClient, type LoadRequest } from './load-client.ts';
import { createTagOracle } from './tag-oracle.ts';
import { createTally, type Tally } from './tally.ts';

export type SoakLoad = {
  /** Does all that clients do until `meanwhile` settles, then waits for the last answers. */
  run(meanwhile: () => Promise<void>): Promise<void>;
  readonly operations: Tally;
  /** How many reads were compared with the writes before them, and how many came out of the cache. */
  readonly reads: number;
  readonly hits: number;
};

export type SoakLoadOptions = {
  readonly frontDoor: { readonly port: number; readonly ca: string };
  readonly storageDir: string;
  /** Authorization of who may push and delete, and of who may only pull. */
  readonly pusher: string;
  readonly reader: string;
  /** How many clients work at a time; each has up to a few connections. */
  readonly clients: number;
  readonly random: () => number;
  readonly judge: Judge;
};

/** Repositories that are used for a while and then dropped, so that neither the disk nor the model grows. */
type Generation = {
  readonly id: string;
  readonly versions: Map<string, number>;
  readonly newest: Map<string, { readonly version: number; readonly digest: string }[]>;
  /** What has been pushed and is nobody else's. */
  readonly blobs: Set<string>;
  readonly base: { readonly digest: string; readonly bytes: Buffer };
  readonly startedAtMs: number;
  active: number;
  /** Which repositories have the layer that all images share. Each once: the registry empties its link first, and knows no such blob for an instant. */
  readonly mounted: Map<string, Promise<boolean>>;
};

type Manifest = { readonly config: { digest: string }; readonly layers: readonly { digest: string }[] };

const generationMs = 15_000;
const checkMs = 500;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
/** Where images are, and where the layer is that they share: nobody needs a name to pull what is public. */
const places = ['team/app', 'team/web', 'public/tools'];
const basePlace = 'team/base';
/** A repository of a generation: of `team/app`, `team/g1/app`. */
const inGeneration = (place: string, { id }: Generation) => place.replace('/', `/${id}/`);
const tags = ['latest', 'stable'];

export function createSoakLoad(options: SoakLoadOptions): SoakLoad {
  const { judge, pusher, random } = options;
  const oracle = createTagOracle();
  const operations = createTally();
  const given: Generation[] = [];
  let current: Generation | undefined;
  let lastGeneration = 0;
  let lastVersion = 0;
  let hits = 0;
  const state = { running: false };

  const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random() * from.length)];
  const between = (low: number, high: number) => Math.floor(low + random() * (high - low));

  /** Asks, and judges whatever is not among the statuses that are right; undefined then. */
  const ask = async (
    client: LoadClient,
    asked: Omit<LoadRequest, 'authorization'> & { readonly authorization?: string | null },
    ...right: number[]
  ): Promise<LoadAnswer | undefined> => {
    const startMs = performance.now();
    const what = `${asked.method} ${asked.target}`;
    try {
      const answer = await client.ask({ authorization: pusher, ...asked });
      operations.count('requests');
      if (right.includes(answer.status)) return answer;
      judge.failed(what, answer, startMs);
    } catch (error) {
      judge.failed(what, error as Error, startMs);
    }
    return undefined;
  };

  const openGeneration = (): Generation => {
    const bytes = randomBytes(500_000);
    return {
      id: `g${++lastGeneration}`,
      versions: new Map(),
      newest: new Map(),
      blobs: new Set(),
      base: { digest: digestOf(bytes), bytes },
      startedAtMs: performance.now(),
      active: 0,
      mounted: new Map(),
    };
  };
  /** Gives up the present repositories when their time is over. */
  const generation = (): Generation => {
    if (current && performance.now() - current.startedAtMs > generationMs) {
      given.push(current);
      current = undefined;
    }
    return (current ??= openGeneration());
  };
  const checkReads = () => {
    for (const { name, read, staleMs } of oracle.check())
      judge.fault(
        `a stale read of ${name}: ${String(read.value)} (${read.cache}), ${Math.round(staleMs)} ms after it was superseded`,
      );
  };
  const clean = async () => {
    checkReads();
    for (const old of given.filter(({ active }) => active === 0)) {
      given.splice(given.indexOf(old), 1);
      for (const place of [...places, basePlace]) {
        const repository = inGeneration(place, old);
        oracle.forget(repository);
        const root = path.join(options.storageDir, 'docker/registry/v2/repositories', repository);
        await rm(root, { recursive: true, force: true }).catch(() => {}); // an upload that was left may still be written
      }
      for (const digest of [...old.blobs, ...old.versions.keys()])
        await rm(path.dirname(path.join(options.storageDir, dataPath(digest))), {
          recursive: true,
          force: true,
        });
    }
  };

  const upload = async (client: LoadClient, at: string, bytes: Buffer, inPieces: boolean) => {
    const opened = await ask(client, { method: 'POST', target: `/v2/${at}/blobs/uploads/` }, 202);
    return opened && finishUpload(client, opened, bytes, inPieces);
  };
  const finishUpload = async (client: LoadClient, opened: LoadAnswer, bytes: Buffer, inPieces: boolean) => {
    const digest = digestOf(bytes);
    let location = opened.headers.location ?? '';
    const headers = { 'Content-Type': 'application/octet-stream' };
    if (inPieces) {
      const half = bytes.length >> 1;
      for (const body of [bytes.subarray(0, half), bytes.subarray(half)]) {
        const patched = await ask(
          client,
          { method: 'PATCH', target: toTarget(location), headers, body },
          202,
        );
        if (!patched) return undefined;
        location = patched.headers.location ?? '';
      }
    }
    const target = toTarget(location, digest);
    const done = await ask(
      client,
      { method: 'PUT', target, headers, body: inPieces ? Buffer.alloc(0) : bytes },
      201,
    );
    return done && { digest, size: bytes.length };
  };

  /** Once for all who ask meanwhile; again when it failed. */
  const mountBase = (client: LoadClient, g: Generation, repository: string): Promise<boolean> => {
    const known = g.mounted.get(repository);
    if (known) return known;
    const from = inGeneration(basePlace, g);
    const mount = async () => {
      const source = repository === from || (await mountBase(client, g, from));
      if (!source) return false;
      const query = repository === from ? '' : `?mount=${g.base.digest}&from=${from}`;
      const target = `/v2/${repository}/blobs/uploads/${query}`;
      const opened = await ask(client, { method: 'POST', target }, repository === from ? 202 : 201);
      if (!opened) return false;
      return opened.status === 201 || (await finishUpload(client, opened, g.base.bytes, false)) !== undefined;
    };
    const mounted = mount().then((done) => {
      if (!done) g.mounted.delete(repository);
      return done;
    });
    g.mounted.set(repository, mounted);
    return mounted;
  };

  const push = async (client: LoadClient, g: Generation, leaves: boolean): Promise<void> => {
    const repository = inGeneration(pick(places) ?? '', g);
    const tag = pick(tags) ?? '';
    const version = ++lastVersion;
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', version }));
    const layers = [
      randomBytes(between(1000, 40_000)),
      randomBytes(random() < 0.1 ? between(500_000, 3_000_000) : 2000),
    ];
    for (const bytes of [config, ...layers]) g.blobs.add(digestOf(bytes));
    g.blobs.add(g.base.digest);
    if (!(await mountBase(client, g, repository))) return;
    const pushed = await Promise.all(
      [config, ...layers].map((bytes, i) => upload(client, repository, bytes, i === 1)),
    );
    if (pushed.includes(undefined)) return;
    const [configBlob, ...layerBlobs] = pushed;
    const body = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: manifestType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...configBlob },
        layers: [...layerBlobs, { digest: g.base.digest, size: g.base.bytes.length }].map((layer) => ({
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          ...layer,
        })),
      }),
    );
    const digest = digestOf(body);
    g.versions.set(digest, version);
    const target = `/v2/${repository}/manifests/${tag}`;
    const asked = { method: 'PUT', target, headers: { 'Content-Type': manifestType }, body };
    const ends = [`${repository}:${tag}`, `${repository}@${digest}`].map((name) =>
      oracle.write(name, { value: version }),
    );
    if (leaves) {
      await client.leaveUpload({ ...asked, authorization: pusher }, pick([10, body.length]) ?? 0);
      for (const end of ends) end(false);
      operations.count('aborted pushes');
      return;
    }
    const done = await ask(client, asked, 201);
    for (const end of ends) end(done !== undefined);
    if (!done) return;
    if (done.headers['docker-content-digest'] !== digest)
      judge.fault(`PUT ${target} was acknowledged as another digest`);
    operations.count('pushes');
    const newest = g.newest.get(`${repository}:${tag}`) ?? [];
    newest.push({ version, digest });
    g.newest.set(`${repository}:${tag}`, newest.slice(-4));
  };

  const readManifest = async (
    client: LoadClient,
    g: Generation,
    method: string,
    repository: string,
    reference: string,
    authorization: string | null,
  ): Promise<Buffer | undefined> => {
    const name = reference.includes(':') ? `${repository}@${reference}` : `${repository}:${reference}`;
    const target = `/v2/${repository}/manifests/${reference}`;
    const end = oracle.read(name);
    const answer = await ask(
      client,
      { method, target, authorization, headers: { Accept: manifestType } },
      ...[200, 404],
    );
    if (!answer) {
      end(undefined);
      return undefined;
    }
    const digest = String(answer.headers['docker-content-digest']);
    const cache = String(answer.headers['x-cache']);
    if (cache === 'HIT') hits += 1;
    end({ value: answer.status === 404 ? null : (g.versions.get(digest) ?? NaN), cache });
    if (answer.status === 404) return undefined;
    if (method === 'GET' && answer.digest !== digest) judge.fault(`GET ${target}: the body is not ${digest}`);
    return answer.body;
  };

  const pull = async (client: LoadClient, g: Generation): Promise<void> => {
    const repository = inGeneration(pick(places) ?? '', g);
    const tag = pick(tags) ?? '';
    const recent = pick(g.newest.get(`${repository}:${tag}`) ?? []);
    const reference = recent && random() < 0.3 ? recent.digest : tag;
    const isPublic = repository.startsWith('public/');
    const authorization = pick([pusher, options.reader, ...(isPublic ? [null] : [])]) ?? null;
    if (random() < 0.3) await readManifest(client, g, 'HEAD', repository, reference, authorization);
    const body = await readManifest(client, g, 'GET', repository, reference, authorization);
    if (!body) return;
    const { config, layers } = JSON.parse(body.toString()) as Manifest;
    const digests = [config, ...layers].map(({ digest }) => digest);
    await Promise.all(
      digests.map(async (digest) => {
        const target = `/v2/${repository}/blobs/${digest}`;
        const answer = await ask(client, { method: 'GET', target, authorization, hashOnly: true }, 200);
        if (answer && answer.digest !== digest) judge.fault(`GET ${target}: the body is ${answer.digest}`);
      }),
    );
    operations.count('pulls');
  };

  const remove = async (client: LoadClient, g: Generation): Promise<void> => {
    const repository = inGeneration(pick(places) ?? '', g);
    const tag = pick(tags) ?? '';
    const last = g.newest.get(`${repository}:${tag}`)?.at(-1);
    if (!last) return;
    const target = `/v2/${repository}/manifests/${last.digest}`; // by a tag's name it deletes nothing
    const ends = [
      oracle.write(`${repository}:${tag}`, { value: null, ends: last.version }),
      oracle.write(`${repository}@${last.digest}`, { value: null }),
    ];
    const done = await ask(client, { method: 'DELETE', target }, 202, 404);
    for (const end of ends) end(done?.status === 202);
    operations.count('deletes');
  };

  const leave = async (client: LoadClient, g: Generation): Promise<void> => {
    operations.count('aborted transfers');
    const [tag, pushed] = pick([...g.newest]) ?? [];
    const last = pushed?.at(-1);
    if (last && random() < 0.6) {
      const target = `/v2/${tag?.split(':')[0] ?? ''}/blobs/${g.base.digest}`;
      await client.leaveDownload({ method: 'GET', target, authorization: pusher }, between(1, 400_000));
      return;
    }
    const at = inGeneration(basePlace, g);
    const opened = await ask(client, { method: 'POST', target: `/v2/${at}/blobs/uploads/` }, 202);
    if (!opened) return;
    const body = randomBytes(between(1000, 2_000_000));
    const target = toTarget(opened.headers.location ?? '');
    const headers = { 'Content-Type': 'application/octet-stream' };
    await client.leaveUpload(
      { method: 'PATCH', target, authorization: pusher, headers, body },
      between(1, body.length),
    );
  };

  const logIn = async (client: LoadClient): Promise<void> => {
    operations.count('logins');
    await ask(client, { method: 'GET', target: '/v2/' }, 200);
    // From anywhere, as anyone: else throttling would answer most of them.
    const stranger = createLoadClient(options.frontDoor, `127.${between(1, 255)}.${between(0, 255)}.1`);
    const authorization = basicOf(`nobody-${between(0, 1e9)}`, 'wrong');
    await ask(stranger, { method: 'GET', target: '/v2/', authorization }, 401);
    stranger.close();
  };

  /** The policy's denials hold, whatever is cached or being reloaded. */
  const trespass = async (client: LoadClient, g: Generation): Promise<void> => {
    operations.count('forbidden requests');
    const repository = inGeneration(pick(places) ?? '', g);
    const isPublic = repository.startsWith('public/');
    const tag = pick(tags) ?? '';
    const digest = g.newest.get(`${repository}:${tag}`)?.at(-1)?.digest;
    const manifests = `/v2/${repository}/manifests`;
    const body = Buffer.from('{}');
    const authorization = options.reader;
    await ask(client, { method: 'POST', target: `/v2/${repository}/blobs/uploads/`, authorization }, 403);
    await ask(client, { method: 'PUT', target: `${manifests}/${tag}`, authorization, body }, 403);
    if (digest !== undefined)
      await ask(client, { method: 'DELETE', target: `${manifests}/${digest}`, authorization }, 403);
    const stranger = { target: `${manifests}/${tag}`, authorization: null };
    await ask(client, { method: 'PUT', ...stranger, body }, 401);
    if (!isPublic) await ask(client, { method: 'GET', ...stranger }, 401);
  };

  const acts: readonly (readonly [
    share: number,
    act: (client: LoadClient, g: Generation) => Promise<void>,
  ])[] = [
    [0.16, (client, g) => push(client, g, false)],
    [0.02, (client, g) => push(client, g, true)],
    [0.67, pull],
    [0.03, trespass],
    [0.05, remove],
    [0.04, leave],
    [0.03, logIn],
  ];
  const work = async (): Promise<void> => {
    const client = createLoadClient(options.frontDoor);
    while (state.running) {
      const g = generation();
      let at = random();
      const [, act] = acts.find(([share]) => (at -= share) < 0) ?? acts[0] ?? [];
      g.active += 1;
      await act?.(client, g).catch((error: unknown) => judge.fault(String(error)));
      g.active -= 1;
    }
    client.close();
  };

  return {
    run: async (meanwhile) => {
      state.running = true;
      const janitor = (async () => {
        while (state.running) {
          await pause(checkMs);
          await clean();
        }
      })();
      const workers = Array.from({ length: options.clients }, work);
      await meanwhile().finally(() => (state.running = false));
      await Promise.all([...workers, janitor]);
      checkReads();
    },
    operations,
    get reads() {
      return oracle.reads;
    },
    get hits() {
      return hits;
    },
  };
}

export const basicOf = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** What to ask for from a Location, with the digest that ends an upload. */
function toTarget(location: string, digest?: string): string {
  const url = new URL(location, 'https://localhost');
  if (digest !== undefined) url.searchParams.set('digest', digest);
  return `${url.pathname}${url.search}`;
}
