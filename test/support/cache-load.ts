import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Answer, CacheClient } from './cache-client.ts';
import type { History, Version } from './cache-history.ts';

export const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
const ociConfig = 'application/vnd.oci.image.config.v1+json';
const emptyConfig = '{}';

export type CacheLoad = {
  /** Pushes, deletes and pulls until `meanwhile` settles, then waits for the last answers. */
  run(meanwhile: () => Promise<void>): Promise<void>;
  readonly histories: readonly History[];
  readonly operations: Readonly<Record<'pushes' | 'deletes' | 'pulls' | 'hits' | 'failures', number>>;
  /** Wrong answers: none, an error of Tidegate's own, or a body that does not match its digest. */
  readonly faults: readonly string[];
};

const tagsOf = (repository: string) => [`${repository}:latest`, `${repository}:stable`];
const tags = ['race/one', 'race/two'].flatMap(tagsOf);
/** It has two pushers that hardly rest, pullers of its own, and nothing deletes it: a delete would wait for the pulls that a test holds. */
export const hotTag = 'race/hot:latest';
/** How many of a tag's newest versions the pulls by digest choose from. */
const digestsPulled = 4;

/**
 * Many clients at few tags of two repositories, each through a Tidegate chosen at random. `latest` has two pushers,
 * `stable` one; of both, versions are deleted by digest, and `latest` by its name too. And one tag that is pushed all the time.
 */
export async function createCacheLoad(clients: readonly CacheClient[]): Promise<CacheLoad> {
  const histories = new Map<string, History>();
  const versions = new Map<string, number>();
  const pushed = new Map<string, { version: number; digest: string }[]>();
  const operations = { pushes: 0, deletes: 0, pulls: 0, hits: 0, failures: 0 };
  const faults: string[] = [];
  let lastVersion = 0;
  let running = false;

  const historyOf = (name: string): History => {
    const known = histories.get(name) ?? { name, writes: [], reads: [] };
    histories.set(name, known);
    return known;
  };
  const ask = async (...asked: Parameters<CacheClient['ask']>) => {
    const via = Math.floor(Math.random() * clients.length);
    const startMs = performance.now();
    const answer = await clients[via]?.ask(...asked).catch((error: unknown) => {
      faults.push(`${asked[0]} ${asked[1]}: ${String(error)}`);
      return undefined;
    });
    // Without a shared Redis, nothing is deleted.
    const isRefusedDelete =
      asked[0] === 'DELETE' && answer?.status === 503 && answer.header('Retry-After') !== '';
    // The registry itself answers 500 when a tag is written and deleted at the same time; these are Tidegate's.
    if (answer && answer.status > 500 && !isRefusedDelete)
      faults.push(`${asked[0]} ${asked[1]}: ${answer.status} ${answer.body.toString()}`);
    return { answer, via: String(via), startMs, endMs: performance.now() };
  };

  const push = async (tag: string): Promise<void> => {
    const [repository, name] = tag.split(':') as [string, string];
    const version = ++lastVersion;
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: ociManifest,
      config: { mediaType: ociConfig, digest: digestOf(emptyConfig), size: emptyConfig.length },
      layers: [],
      annotations: { version: String(version) },
    });
    const digest = digestOf(body);
    versions.set(digest, version);
    const { answer, startMs, endMs } = await ask('PUT', `/v2/${repository}/manifests/${name}`, {
      headers: { 'Content-Type': ociManifest },
      body,
    });
    operations.pushes += 1;
    const acknowledged = answer?.status === 201;
    const write = { value: version, acknowledged, startMs, endMs };
    historyOf(tag).writes.push(write);
    historyOf(`${repository}@${digest}`).writes.push(write);
    if (!acknowledged) return;
    const newest = pushed.get(tag) ?? [];
    newest.push({ version, digest });
    pushed.set(tag, newest.slice(-digestsPulled));
  };

  const remove = async (tag: string, byName: boolean): Promise<void> => {
    const [repository, name] = tag.split(':') as [string, string];
    const target = pushed.get(tag)?.at(-1);
    if (!target) return;
    const { answer, startMs, endMs } = await ask(
      'DELETE',
      `/v2/${repository}/manifests/${byName ? name : target.digest}`,
    );
    operations.deletes += 1;
    const write = { value: null, acknowledged: answer?.status === 202, startMs, endMs };
    if (byName) {
      historyOf(tag).writes.push(write);
      return;
    }
    historyOf(tag).writes.push({ ...write, ends: target.version });
    historyOf(`${repository}@${target.digest}`).writes.push(write);
  };

  const pull = async (tag: string): Promise<void> => {
    const [repository, name] = tag.split(':') as [string, string];
    const recent = pushed.get(tag) ?? [];
    const byDigest =
      Math.random() < 0.3 ? recent[Math.floor(Math.random() * recent.length)]?.digest : undefined;
    const method = Math.random() < 0.5 ? 'GET' : 'HEAD';
    const { answer, ...span } = await ask(method, `/v2/${repository}/manifests/${byDigest ?? name}`, {
      headers: { Accept: ociManifest },
    });
    operations.pulls += 1;
    if (!answer || ![200, 404].includes(answer.status)) {
      operations.failures += 1;
      return;
    }
    const cache = answer.header('X-Cache');
    if (cache === 'HIT') operations.hits += 1;
    const value = answer.status === 404 ? null : readVersion(method, answer);
    historyOf(byDigest ? `${repository}@${byDigest}` : tag).reads.push({ ...span, cache, value });
  };
  const readVersion = (method: string, answer: Answer): Version => {
    const digest = answer.header('Docker-Content-Digest');
    if (method === 'GET' && digestOf(answer.body) !== digest) faults.push(`${digest} came with another body`);
    return versions.get(digest) ?? NaN;
  };

  const repeat = async (longestPauseMs: number, act: () => Promise<void>) => {
    while (running) {
      await act();
      await pause(Math.random() * longestPauseMs);
    }
  };
  const pulled = [...tags, hotTag];
  const any = () => pulled[Math.floor(Math.random() * pulled.length)] ?? '';

  const [client] = clients;
  for (const repository of new Set(pulled.map((tag) => tag.split(':')[0] ?? '')))
    if (client) await pushBlob(client, repository, emptyConfig);

  return {
    run: async (meanwhile) => {
      running = true;
      const pushAndPull = (longestPauseMs: number) => (tag: string) =>
        repeat(longestPauseMs, async () => {
          await push(tag);
          await pull(tag);
        });
      const pushers = [
        ...[...tags, ...tags.filter((tag) => tag.endsWith(':latest'))].map(pushAndPull(800)),
        ...[hotTag, hotTag].map((tag) => repeat(300, () => push(tag))),
      ];
      const deleters = tags.map((tag) =>
        repeat(2500, async () => {
          await remove(tag, tag.endsWith(':latest') && Math.random() < 0.5);
          await pull(tag);
        }),
      );
      const pullers = [
        ...Array.from({ length: 8 }, () => repeat(6, () => pull(any()))),
        // Others may be held up by other tags.
        ...Array.from({ length: 3 }, () => repeat(20, () => pull(hotTag))),
      ];
      await meanwhile().finally(() => (running = false));
      await Promise.all([...pushers, ...deleters, ...pullers]);
    },
    get histories() {
      return [...histories.values()];
    },
    operations,
    faults,
  };
}

/** Uploads a blob in one PUT. With end-4b of the distribution-spec, one request would do, where supported. */
export async function pushBlob(
  client: CacheClient,
  repository: string,
  content: string | Buffer,
): Promise<string> {
  const digest = digestOf(content);
  const opened = await client.ask('POST', `/v2/${repository}/blobs/uploads/`);
  const location = new URL(opened.header('Location'), 'https://localhost');
  location.searchParams.set('digest', digest);
  const done = await client.ask('PUT', `${location.pathname}${location.search}`, {
    headers: { 'Content-Type': 'application/octet-stream' },
    body: content,
  });
  if (done.status !== 201) throw new Error(`the blob was not taken: ${done.status} ${done.body.toString()}`);
  return digest;
}

export const digestOf = (content: string | Buffer): string =>
  `sha256:${createHash('sha256').update(content).digest('hex')}`;
