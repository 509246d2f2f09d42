import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, utimesSync } from 'node:fs';
import path from 'node:path';
import pino from 'pino';
import { runClean, type RunSummary } from '../../src/clean/run/run.ts';
import type { RunOptions } from '../../src/clean/run/run-context.ts';
import { openCleanFolder, type CleanFolder } from '../../src/clean/quarantine/clean-folder.ts';
import { disk } from '../../src/clean/quarantine/disk.ts';
import { dataPath } from '../../src/clean/quarantine/item.ts';
import { readTakenDigests } from '../../src/clean/quarantine/taken-digests.ts';
import { undoRun, type UndoSummary } from '../../src/clean/quarantine/undo.ts';
import { createCacheClient, type Answer, type CacheClient } from './cache-client.ts';
import { pushBlob } from './delete-history.ts';
import type { FrontDoor } from './front-door.ts';
import { startRegistry, type Registry } from './registry.ts';
import { startTestCleaner, type TestCleaner } from './test-cleaner.ts';

export const imageType = 'application/vnd.docker.distribution.manifest.v2+json';
export const indexType = 'application/vnd.oci.image.index.v1+json';

/** A real registry behind the real program, and a cleaner in this process. */
export type CleanedRegistry = {
  readonly registry: Registry;
  readonly root: string;
  readonly cleaner: TestCleaner;
  readonly door: FrontDoor;
  readonly client: CacheClient;
  readonly folder: CleanFolder;
  /** @param options by: another program's `runClean` */
  run(
    options?: Partial<RunOptions> & { readonly newest?: number; readonly by?: typeof runClean },
  ): Promise<RunSummary>;
  undo(run: string): Promise<UndoSummary>;
  /** Pushes an image of these layers, and returns its manifest. */
  push(repository: string, tag: string, layers: readonly string[]): Promise<PushedImage>;
  /** Pushes a manifest whose layers are there, under another tag or its digest. */
  retag(repository: string, reference: string, body: string): Promise<Answer>;
  /** Pulls all of an image, and checks its bytes. Returns null, or what was not there. */
  pull(repository: string, reference: string): Promise<string | null>;
  hasData(digest: string): boolean;
  /** The digests of all data. */
  listData(): string[];
  stop(): Promise<void>;
};

export type PushedImage = {
  readonly digest: string;
  readonly body: string;
  readonly layers: readonly string[];
};

export async function startCleanedRegistry({
  remembersBlobs = false,
  graceMs = 0,
  workers = 2,
  set = [],
  within = [],
  registry: given,
}: {
  registry?: Registry;
  remembersBlobs?: boolean;
  graceMs?: number;
  workers?: number;
  set?: readonly string[];
  /** A command prefix to start the front door with. */
  within?: readonly string[];
} = {}): Promise<CleanedRegistry> {
  const registry = given ?? (await startRegistry({ remembersBlobs }));
  const root = registry.storageDir;
  mkdirSync(path.join(root, 'docker/registry/v2/repositories'), { recursive: true });
  mkdirSync(path.join(root, 'docker/registry/v2/blobs/sha256'), { recursive: true });
  const folder = await openCleanFolder(root, disk);
  const cleaner = await startTestCleaner({ graceMs, storage: root, taken: await readTakenDigests(folder) });
  const door = await cleaner.startDoor(registry.url, [`workers=${workers}`, ...set], within);
  await cleaner.untilConnected();
  const client = createCacheClient(door);
  const { doors } = cleaner;
  const { version } = (await doors.check()).doors[0] ?? { version: '' };
  const ask = (method: string, target: string, accept: string) =>
    client.ask(method, target, { headers: { Accept: accept } });
  const retag = (repository: string, reference: string, body: string) =>
    client.ask('PUT', `/v2/${repository}/manifests/${reference}`, {
      headers: { 'Content-Type': imageType },
      body,
    });
  const pull = async (repository: string, reference: string): Promise<string | null> => {
    const answer = await ask(
      'GET',
      `/v2/${repository}/manifests/${reference}`,
      `${imageType}, ${indexType}, application/vnd.oci.image.manifest.v1+json`,
    );
    if (answer.status !== 200) return `manifest ${reference}: ${answer.status}`;
    const wrong = findWrong(answer, reference.startsWith('sha256:') ? reference : null);
    if (wrong !== null) return wrong;
    const {
      config,
      layers = [],
      manifests = [],
    } = JSON.parse(answer.body.toString()) as {
      config?: { digest: string };
      layers?: { digest: string }[];
      manifests?: { digest: string }[];
    };
    for (const { digest } of manifests) {
      const found = await pull(repository, digest);
      if (found !== null) return found;
    }
    for (const { digest } of [...(config ? [config] : []), ...layers]) {
      const blob = await client.ask('GET', `/v2/${repository}/blobs/${digest}`);
      if (blob.status !== 200) return `blob ${digest}: ${blob.status}`;
      const found = findWrong(blob, digest);
      if (found !== null) return found;
    }
    return null;
  };
  return {
    ...{ registry, root, cleaner, door, client, folder, pull, retag },
    run: ({ newest = 1, by = runClean, ...options } = {}) =>
      by({
        ...{ folder, doors, version, immutableTags: [] },
        clean: {
          rules: [{ repositories: ['**'], tags: ['*'], keep: { newest } }],
          ...{ grace: graceMs, untagged: 0, pace: 100, quarantine: 3_600_000 },
        },
        placeOf: (at) => at.join('.'),
        logger: pino({ level: 'silent' }),
        nowMs: Date.now,
        signal: new AbortController().signal,
        onProgress: () => {},
        ...options,
      }),
    undo: (run) =>
      undoRun({
        ...{ folder, run, keepMs: 3_600_000, graceMs, nowMs: Date.now },
        signal: new AbortController().signal,
        onProgress: () => {},
        locked: async (keys, work) => {
          const lock = await doors.lock(keys, 5000);
          if (lock === null) throw new Error('no lock');
          try {
            await work();
          } finally {
            await lock.release();
          }
        },
      }),
    push: async (repository, tag, texts) => {
      const layers = await Promise.all(texts.map((text) => pushBlob(client, repository, text)));
      const body = imageOf(texts);
      const { status } = await retag(repository, tag, body);
      if (status !== 201) throw new Error(`the manifest was not taken: ${status}`);
      return { digest: digestOf(body), body, layers };
    },
    hasData: (digest) => existsSync(path.join(root, dataPath(digest), 'data')),
    listData: () =>
      readdirSync(path.join(root, 'docker/registry/v2/blobs'), { recursive: true, encoding: 'utf8' })
        .flatMap((name) => /^sha256\/..\/([0-9a-f]{64})\/data$/.exec(name)?.[1] ?? [])
        .map((hex) => `sha256:${hex}`)
        .sort(),
    stop: async () => {
      client.close();
      await door.stop();
      await cleaner.close();
      await registry.stop();
    },
  };
}

/** Makes everything so old, and the tags `v2` a second younger. */
export function ageStorage(root: string, ageMs: number): void {
  const agoS = (Date.now() - ageMs) / 1000;
  const folder = path.join(root, 'docker');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const mtimeS = name.includes('/tags/v2/') ? agoS + 1 : agoS;
    utimesSync(path.join(folder, name), mtimeS, mtimeS);
  }
}

/** A manifest of these layers, the first of them its configuration. */
export function imageOf(texts: readonly string[]): string {
  const [config, ...layers] = texts.map((text) => ({
    mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    size: Buffer.byteLength(text),
    digest: digestOf(text),
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: imageType, config, layers });
}

export const digestOf = (bytes: string | Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function findWrong({ body }: Answer, digest: string | null): string | null {
  return digest !== null && digestOf(body) !== digest ? `${digest} has other bytes` : null;
}
