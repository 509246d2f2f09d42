import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate as nextLoopIteration } from 'node:timers/promises';
import type { Answer, CacheClient } from './cache-client.ts';
import { imageType, indexType, makeManifest, type Manifest } from './manifest-registry.ts';

/*
 * A history of pushes, mounts, moves, pulls and deletes in a registry that is cleaned at the same time, and a model of
 * what must be there afterwards. Each tag has one writer, so the last acknowledged write of it is known.
 */

/** Tags in this repository are retired beyond the newest {@link newest}; those of the others never. */
export const retiringRepository = 'ci/app';
const keepingRepositories = ['team/app', 'team/base', 'library/tools'] as const;
export const newest = 5;

/** What a tag leads to: every manifest below it, with the blobs of each. */
type Content = { readonly root: Manifest; readonly below: readonly Manifest[] };

type TagState = {
  /** Null: deleted. */
  readonly content: Content | null;
  readonly startedAt: number;
  readonly endedAt: number;
  /** Counts writes, so that a reader knows whether one came between. */
  readonly version: number;
  readonly isWriting: boolean;
};

export type HistoryCounts = {
  pushes: number;
  mounts: number;
  existing: number;
  moves: number;
  deletes: number;
  pulls: number;
  /** Pushes that had to send a layer again. */
  resent: number;
  /** Writes that were refused for now (503), and done later. */
  refused: number;
};

export type History = {
  readonly counts: HistoryCounts;
  /** What was found wrong, in words. */
  readonly losses: readonly string[];
  /** Acts until so many pushes are acknowledged. */
  run(options: { pushes: number; writers: number; readers: number; signal: AbortSignal }): Promise<void>;
  /** Pulls everything that must be there, whole. Call it when nothing writes. */
  check(): Promise<void>;
  /** The digests of all that tags lead to now, as the registry has them. */
  reachable(): Promise<Set<string>>;
};

/** Loses a push when a layer vanishes again and again: it is no client's fault then. */
const maxTries = 12;
const layerPool = 40;

export function createHistory(clients: readonly CacheClient[], seed: number): History {
  const random = createRandom(seed);
  const pick = <T>(from: readonly T[]): T => {
    const found = from[Math.floor(random() * from.length)];
    if (found === undefined) throw new Error('nothing to pick from');
    return found;
  };
  const client = () => pick(clients);
  const counts: HistoryCounts = {
    ...{ pushes: 0, mounts: 0, existing: 0, moves: 0, deletes: 0, pulls: 0, resent: 0, refused: 0 },
  };
  const losses: string[] = [];
  /** By `repository:tag`. */
  const tags = new Map<string, TagState>();
  let unique = 0;

  const lose = (what: string) => {
    if (losses.length < 50) losses.push(`${new Date().toISOString()} ${what}`);
  };

  /** Asks again while the front door refuses for now. */
  const ask: CacheClient['ask'] = async (method, target, options) => {
    for (let tries = 0; ; tries += 1) {
      const answer = await client().ask(method, target, options);
      if (answer.status !== 503 || tries === 200) return answer;
      counts.refused += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  const upload = async (repository: string, content: string): Promise<void> => {
    const started = await ask('POST', `/v2/${repository}/blobs/uploads/`);
    if (started.status !== 202) throw new Error(`an upload did not begin: ${describe(started)}`);
    const { pathname, search } = new URL(started.header('Location'), 'https://localhost');
    const done = await ask('PUT', `${pathname}${search}&digest=${digestOf(content)}`, {
      headers: { 'Content-Type': 'application/octet-stream' },
      body: content,
    });
    if (done.status !== 201) throw new Error(`a blob was not taken: ${describe(done)}`);
  };

  /** Puts a blob there as clients do: finds it, mounts it, or sends it. */
  const provide = async (repository: string, content: string): Promise<void> => {
    const digest = digestOf(content);
    const way = random();
    if (way < 0.15) return; // from the client's memory of an earlier push: it may be wrong
    if (way < 0.6) {
      const head = await ask('HEAD', `/v2/${repository}/blobs/${digest}`);
      if (head.status === 200) {
        counts.existing += 1;
        return;
      }
    }
    if (way > 0.7) {
      const from = pick([...keepingRepositories, retiringRepository]);
      const mounted = await ask('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`);
      if (mounted.status === 201) {
        counts.mounts += 1;
        return;
      }
    }
    await upload(repository, content);
  };

  const putManifest = (repository: string, reference: string, { body, type }: Manifest) =>
    ask('PUT', `/v2/${repository}/manifests/${reference}`, { headers: { 'Content-Type': type }, body });

  /** Pushes a manifest whose parts `sendAgain` provides, until it is taken. */
  const pushUntilTaken = async (
    repository: string,
    reference: string,
    manifest: Manifest,
    sendAgain: () => Promise<void>,
  ): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      const answer = await putManifest(repository, reference, manifest);
      if (answer.status === 201) return;
      if (answer.status !== 400 && answer.status !== 404) throw new Error(`not taken: ${describe(answer)}`);
      if (tries === maxTries) throw new Error(`not taken ${tries} times: ${describe(answer)}`);
      counts.resent += 1;
      await sendAgain();
    }
  };

  const makeImage = (): { manifest: Manifest; blobs: readonly string[] } => {
    const layers = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
      random() < 0.6 ? `layer ${Math.floor(random() * layerPool)} of ${seed}` : `layer ${seed}/${++unique}`,
    );
    const config = JSON.stringify({ architecture: 'amd64', os: 'linux', of: `${seed}/${++unique}` });
    const describeBlob = (mediaType: string, content: string) => ({
      ...{ mediaType, digest: digestOf(content), size: Buffer.byteLength(content) },
    });
    const manifest = makeManifest(imageType, {
      mediaType: imageType,
      config: describeBlob('application/vnd.oci.image.config.v1+json', config),
      layers: layers.map((each) => describeBlob('application/vnd.oci.image.layer.v1.tar', each)),
    });
    return { manifest, blobs: [config, ...layers] };
  };

  const pushImage = async (
    repository: string,
    reference: string | null,
    image = makeImage(),
  ): Promise<Manifest> => {
    const sendAll = async () => {
      for (const blob of image.blobs) await upload(repository, blob);
    };
    for (const blob of image.blobs) await provide(repository, blob);
    await pushUntilTaken(repository, reference ?? image.manifest.digest, image.manifest, sendAll);
    return image.manifest;
  };

  const pushIndex = async (repository: string, tag: string): Promise<Content> => {
    const images = [makeImage(), makeImage()];
    const children: Manifest[] = [];
    for (const image of images) children.push(await pushImage(repository, null, image));
    const root = makeManifest(indexType, {
      mediaType: indexType,
      manifests: children.map(({ type, digest, body }) => ({ mediaType: type, digest, size: body.length })),
    });
    await pushUntilTaken(repository, tag, root, async () => {
      for (const image of images) {
        for (const blob of image.blobs) await upload(repository, blob);
        await pushImage(repository, null, image);
      }
    });
    return { root, below: children };
  };

  /** An image, and a signature that names it as its subject. */
  const pushSigned = async (repository: string, tag: string): Promise<Content> => {
    const root = await pushImage(repository, tag);
    const config = '{}';
    const payload = `signature of ${root.digest}`;
    const signature = makeManifest(imageType, {
      mediaType: imageType,
      artifactType: 'application/example.signature',
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(config), size: 2 },
      layers: [{ mediaType: 'text/plain', digest: digestOf(payload), size: payload.length }],
      subject: { mediaType: imageType, digest: root.digest, size: root.body.length },
    });
    await pushImage(repository, null, { manifest: signature, blobs: [config, payload] });
    return { root, below: [signature] };
  };

  const write = async (key: string, act: () => Promise<Content | null>): Promise<void> => {
    const before = tags.get(key);
    const version = (before?.version ?? 0) + 1;
    const startedAt = performance.now();
    tags.set(key, { content: null, startedAt, endedAt: Infinity, version, isWriting: true });
    const content = await act();
    tags.set(key, { content, startedAt, endedAt: performance.now(), version, isWriting: false });
  };

  /** One step of a writer, which has tags of its own. */
  const step = async (writer: number): Promise<void> => {
    const repository = random() < 0.35 ? retiringRepository : pick(keepingRepositories);
    const tag = `w${writer}-${Math.floor(random() * (repository === retiringRepository ? 40 : 3))}`;
    const key = `${repository}:${tag}`;
    const known = tags.get(key);
    const kind = random();
    if (kind < 0.12 && known?.content) {
      counts.deletes += 1;
      await write(key, async () => {
        const { status } = await ask('DELETE', `/v2/${repository}/manifests/${tag}`);
        if (status !== 202 && !(status === 404 && repository === retiringRepository))
          lose(`DELETE of ${key} answered ${status}`);
        return null;
      });
      return;
    }
    if (kind < 0.24 && known?.content) {
      // The same manifest under another tag, as `docker tag` and `docker push` do: its blobs are there already.
      const { content } = known;
      const twin = `w${writer}-twin${Math.floor(random() * 6)}`;
      const isWhole = content.below.length === 0;
      if (!isWhole) return;
      await write(`${repository}:${twin}`, async () => {
        const answer = await putManifest(repository, twin, content.root);
        if (answer.status === 201) {
          counts.moves += 1;
          return content;
        }
        if (repository !== retiringRepository)
          lose(`${key} could not be tagged ${twin}: ${describe(answer)}`);
        await ask('DELETE', `/v2/${repository}/manifests/${twin}`);
        return null;
      });
      return;
    }
    await write(key, async () => {
      if (kind < 0.4) return pushIndex(repository, tag);
      if (kind < 0.5) return pushSigned(repository, tag);
      return { root: await pushImage(repository, tag), below: [] };
    });
    counts.pushes += 1;
  };

  /** Pulls a manifest and its blobs; null: whole. */
  const pullManifest = async (
    repository: string,
    reference: string,
    wanted: Manifest,
  ): Promise<string | null> => {
    const got = await ask('GET', `/v2/${repository}/manifests/${reference}`, {
      headers: { Accept: [imageType, indexType] },
    });
    const name = `${repository} ${reference}`;
    if (got.status !== 200) return `${name} answered ${got.status}`;
    if (got.body.toString() !== wanted.body) return `${name} is another manifest`;
    for (const { digest, size } of blobsOf(wanted)) {
      const blob = await ask('GET', `/v2/${repository}/blobs/${digest}`);
      if (blob.status !== 200) return `${name}: blob ${digest} answered ${blob.status}`;
      if (blob.body.length !== size || digestOf(blob.body) !== digest)
        return `${name}: blob ${digest} is broken`;
    }
    return null;
  };

  const pullTag = async (key: string, { content }: TagState): Promise<string | null> => {
    if (content === null) return null;
    const [repository = '', tag = ''] = key.split(':');
    const fault = await pullManifest(repository, tag, content.root);
    if (fault !== null) return fault;
    for (const manifest of content.below) {
      const below = await pullManifest(repository, manifest.digest, manifest);
      if (below !== null) return `${key}: ${below}`;
    }
    return null;
  };

  const read = async (): Promise<void> => {
    const keys = [...tags.keys()].filter((key) => !key.startsWith(`${retiringRepository}:`));
    if (keys.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return;
    }
    const key = pick(keys);
    const before = tags.get(key);
    if (before === undefined || before.isWriting) return;
    const fault = await pullTag(key, before);
    counts.pulls += 1;
    if (fault !== null && tags.get(key)?.version === before.version) lose(fault);
  };

  return {
    counts,
    losses,
    run: async ({ pushes, writers, readers, signal }) => {
      let isOver = false;
      const repeat = async (act: () => Promise<void>) => {
        while (!isOver && !signal.aborted) {
          await act();
          await nextLoopIteration(); // a step may have found nothing to do
        }
      };
      const writing = Array.from({ length: writers }, (_, writer) =>
        repeat(async () => {
          await step(writer);
          if (counts.pushes >= pushes) isOver = true;
        }),
      );
      const reading = Array.from({ length: readers }, () => repeat(read));
      await Promise.all([...writing, ...reading]).finally(() => (isOver = true));
    },
    check: async () => {
      for (const [key, state] of tags) {
        const fault = await pullTag(key, state);
        const isRetired = key.startsWith(`${retiringRepository}:`) && mayBeRetired(tags, key, state);
        if (fault !== null && !(isRetired && fault.endsWith(' answered 404'))) lose(`afterwards: ${fault}`);
        if (state.content !== null || state.isWriting) continue;
        const [repository = '', tag = ''] = key.split(':');
        const { status } = await ask('GET', `/v2/${repository}/manifests/${tag}`, {
          headers: { Accept: [imageType, indexType] },
        });
        if (status !== 404) lose(`afterwards: ${key} was deleted, and answers ${status}`);
      }
    },
    reachable: async () => {
      const digests = new Set<string>();
      for (const [key, { content }] of tags) {
        if (content === null) continue;
        const [repository = '', tag = ''] = key.split(':');
        const { status } = await ask('HEAD', `/v2/${repository}/manifests/${tag}`, {
          headers: { Accept: [imageType, indexType] },
        });
        if (status !== 200) continue;
        for (const manifest of [content.root, ...content.below]) {
          digests.add(manifest.digest);
          for (const { digest } of blobsOf(manifest)) digests.add(digest);
        }
      }
      return digests;
    },
  };
}

/** Whether enough tags of the repository may have been pushed after this one. */
function mayBeRetired(tags: ReadonlyMap<string, TagState>, key: string, state: TagState): boolean {
  const others = [...tags].filter(
    ([other, { endedAt }]) =>
      other !== key && other.startsWith(`${retiringRepository}:`) && endedAt > state.startedAt,
  );
  return others.length >= newest;
}

function blobsOf({ body }: Manifest): { digest: string; size: number }[] {
  const { config, layers } = JSON.parse(body) as {
    config?: { digest: string; size: number };
    layers?: { digest: string; size: number }[];
  };
  return [...(config ? [config] : []), ...(layers ?? [])];
}

/** The digests of all blobs on the disk of a registry. */
export async function readStoredDigests(storageDir: string): Promise<Set<string>> {
  const dir = path.join(storageDir, 'docker/registry/v2/blobs/sha256');
  const found = new Set<string>();
  for (const first of await readdir(dir).catch(() => []))
    for (const hex of await readdir(path.join(dir, first))) {
      const files = await readdir(path.join(dir, first, hex));
      if (files.includes('data')) found.add(`sha256:${hex}`);
    }
  return found;
}

const digestOf = (content: string | Buffer) => `sha256:${createHash('sha256').update(content).digest('hex')}`;
const describe = ({ status, body }: Answer) => `${status} ${body.toString().slice(0, 200)}`;

/** Mulberry32: the same numbers for the same seed. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
