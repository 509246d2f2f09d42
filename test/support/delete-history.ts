import { Agent, request } from 'node:http';
import { createHash } from 'node:crypto';
import { headerValues } from '../../src/http/raw-headers.ts';
import type { CacheClient } from './cache-client.ts';
import { imageType, makeImage, pushConfig, pushManifest } from './manifest-registry.ts';

/** How many acknowledged operations there were, and how many of them were lost. */
export type Losses = { readonly lost: number; readonly of: number };

const accepting = { headers: { Accept: imageType } };
const tags = ['t1', 't2', 't3', 't4', 't5', 't6', 't7', 't8'];

/**
 * Moves eight tags from one digest to another while the first is deleted, again and again, and counts the acknowledged moves whose tag is gone
 * afterwards.
 * @param clients used in rotation
 */
export async function moveTagsUnderDelete(
  clients: readonly CacheClient[],
  repository: string,
  rounds: number,
): Promise<Losses & { readonly refused: number }> {
  const [first] = clients;
  if (!first) throw new Error('there is no client');
  const path = (reference: string) => `/v2/${repository}/manifests/${reference}`;
  const clientFor = (i: number) => clients[i % clients.length] ?? first;
  await pushConfig(first, repository);
  let lost = 0;
  let of = 0;
  let refused = 0;
  for (let round = 0; round < rounds; round += 1) {
    const [before, after] = [makeImage(`${round} before`), makeImage(`${round} after`)];
    await Promise.all(tags.map((tag, i) => pushManifest(clientFor(i), path(tag), before)));
    const moves = tags.map((tag, i) => pushManifest(clientFor(i + round), path(tag), after));
    const deleted = clientFor(round).ask('DELETE', path(before.digest));
    const moved = await Promise.all(moves);
    if ((await deleted).status !== 202) refused += 1;
    const kept = await Promise.all(tags.map((tag, i) => clientFor(i).ask('GET', path(tag), accepting)));
    for (const [i, { status }] of moved.entries()) {
      if (status !== 201) continue;
      of += 1;
      if (kept[i]?.status !== 200 || kept[i].body.toString() !== after.body) lost += 1;
    }
  }
  return { lost, of, refused };
}

/** Deletes blobs while others ask whether they are there, and counts those that are said to be there after their end has been acknowledged. */
export async function askUnderDelete(
  clients: readonly CacheClient[],
  repository: string,
  rounds: number,
): Promise<Losses> {
  const [first] = clients;
  if (!first) throw new Error('there is no client');
  let lost = 0;
  let of = 0;
  for (let round = 0; round < rounds; round += 1) {
    const path = `/v2/${repository}/blobs/${await pushBlob(first, repository, `blob ${round}`)}`;
    let ended = false;
    const asking = Array.from({ length: 8 }, async (_, i) => {
      while (!ended) await (clients[i % clients.length] ?? first).ask('HEAD', path);
    });
    const { status } = await first.ask('DELETE', path);
    ended = true;
    await Promise.all(asking);
    if (status !== 202) continue;
    of += 1;
    if ((await first.ask('HEAD', path)).status !== 404) lost += 1;
  }
  return { lost, of };
}

/** Uploads a text as a blob. */
export async function pushBlob(client: CacheClient, repository: string, text: string): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const started = await client.ask('POST', `/v2/${repository}/blobs/uploads/`);
  const { pathname, search } = new URL(started.header('Location'), 'https://localhost');
  const done = await client.ask('PUT', `${pathname}${search}&digest=${encodeURIComponent(digest)}`, {
    headers: { 'Content-Type': 'application/octet-stream' },
    body: text,
  });
  if (done.status !== 201) throw new Error(`the blob was not taken: ${done.status}`);
  return digest;
}

/** A client of the registry itself, which bypasses Tidegate. */
export function createDirectClient(url: string): CacheClient {
  const agent = new Agent({ keepAlive: true });
  return {
    ask: (method, target, { headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const asked = request(new URL(target, url), { method, headers, agent });
        asked.on('error', reject);
        asked.on('response', (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              rawHeaders: response.rawHeaders,
              body: Buffer.concat(chunks),
              header: (name) => headerValues(response.rawHeaders, name.toLowerCase())[0] ?? '',
            }),
          );
        });
        asked.end(body);
      }),
    close: () => agent.destroy(),
  };
}

/**
 * Deletes tags while they and their twins are moved, again and again, and counts the acknowledged moves whose result is
 * gone: those of twins, and those of the tag that were begun after its delete had been answered.
 */
export async function deleteTagsUnderPushes(
  clients: readonly CacheClient[],
  repository: string,
  rounds: number,
): Promise<Losses & { readonly removed: number }> {
  const [first] = clients;
  if (!first) throw new Error('there is no client');
  const path = (reference: string) => `/v2/${repository}/manifests/${reference}`;
  const clientFor = (i: number) => clients[i % clients.length] ?? first;
  await pushConfig(first, repository);
  let [lost, of, removed] = [0, 0, 0];
  for (let round = 0; round < rounds; round += 1) {
    const [before, after] = [makeImage(`${round} old`), makeImage(`${round} new`)];
    await Promise.all(tags.map((tag, i) => pushManifest(clientFor(i), path(tag), before)));
    // The first two are deleted, each again while it is pushed anew; every other one is moved or stays.
    const gone = tags.slice(0, 2).map(async (tag, i) => {
      const beside = pushManifest(clientFor(i + 1), path(tag), after);
      const deleted = await clientFor(i).ask('DELETE', path(tag));
      await beside;
      if (deleted.status !== 202) return { tag, expected: [after.body] };
      removed += 1;
      return { tag, expected: [after.body, null] };
    });
    const moved = tags.slice(2, 6).map(async (tag, i) => {
      const { status } = await pushManifest(clientFor(i + round), path(tag), after);
      return { tag, expected: [status === 201 ? after.body : before.body] };
    });
    const staying = tags.slice(6).map((tag) => ({ tag, expected: [before.body] }));
    for (const { tag, expected } of [...(await Promise.all([...gone, ...moved])), ...staying]) {
      const { status, body } = await clientFor(round).ask('GET', path(tag), accepting);
      of += 1;
      if (!expected.includes(status === 200 ? body.toString() : null)) lost += 1;
    }
    for (const tag of tags.slice(0, 2)) {
      if ((await clientFor(round).ask('GET', path(tag), accepting)).status === 200) {
        const deleted = await clientFor(round).ask('DELETE', path(tag));
        if (deleted.status !== 202) lost += 1;
      }
      of += 1;
      await pushManifest(clientFor(round + 1), path(tag), after);
      const kept = await clientFor(round).ask('GET', path(tag), accepting);
      if (kept.body.toString() !== after.body) lost += 1;
    }
  }
  return { lost, of, removed };
}
