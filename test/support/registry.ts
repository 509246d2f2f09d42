import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { run, stop } from './processes.ts';

/** A real docker-registry on loopback, with its storage in a temporary folder and no password. */
export type Registry = {
  readonly url: string;
  readonly storageDir: string;
  /** Reads from its disk what it has stored under a tag. */
  manifest(repository: string, tag: string): Promise<StoredManifest>;
  /** Frees the space of everything stored: deleting through the API would leave the bytes for the garbage collector. */
  forgetAll(): Promise<void>;
  /** Runs the registry's garbage collector, which deletes every blob that no manifest references. */
  collectGarbage(): Promise<void>;
  stop(): Promise<void>;
};

export type StoredManifest = {
  readonly digest: string;
  readonly configDigest: string;
  readonly layerDigests: readonly string[];
};

/**
 * @param within a command prefix to start it with, for example to enter a network namespace.
 * @param headers headers that it adds to every answer.
 * @param deletes whether it allows deletes.
 * @param remembersBlobs whether it keeps descriptors of blobs in memory, as the packaged configuration does.
 * @param http further keys of its `http` section.
 * @param storageDir the folder of its storage, if another one has it, too.
 * @param proxy its `proxy` section, which makes it a mirror of another registry.
 */
export async function startRegistry({
  within = [],
  headers = {},
  deletes = true,
  remembersBlobs = false,
  http = {},
  proxy,
  storageDir: given,
}: {
  within?: readonly string[];
  headers?: Record<string, string[]>;
  deletes?: boolean;
  remembersBlobs?: boolean;
  http?: Record<string, unknown>;
  storageDir?: string;
  proxy?: { remoteurl: string; username?: string; password?: string };
} = {}): Promise<Registry> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-registry-'));
  const storageDir = given ?? path.join(dir, 'storage');
  await mkdir(storageDir, { recursive: true });
  const configPath = path.join(dir, 'config.yml');
  const config = {
    version: '0.1',
    log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: storageDir },
      delete: { enabled: deletes },
      ...(remembersBlobs ? { cache: { blobdescriptor: 'inmemory' } } : {}),
    },
    http: { addr: '127.0.0.1:0', secret: 'for one test only', headers, ...http },
    ...(proxy === undefined ? {} : { proxy }),
  };
  await writeFile(configPath, JSON.stringify(config)); // JSON is YAML
  const [file, ...args] = [...within, 'docker-registry', 'serve', configPath];
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  let isListening = false; // from then on nobody reads its log, which has a line for each request
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (isListening) return;
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      isListening = address !== undefined;
      if (address !== undefined) resolve(address);
      else log += `${line}\n`;
    });
  });
  const died = once(child, 'exit').then(() => {
    throw new Error(`docker-registry ended before it was ready: ${log}`);
  });
  const address = await Promise.race([listening, died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  return {
    url: `http://${address}`,
    storageDir,
    manifest: (repository, tag) => readManifest(path.join(storageDir, 'docker/registry/v2'), repository, tag),
    forgetAll: () => rm(storageDir, { recursive: true, force: true }),
    collectGarbage: async () => {
      const done = await run('docker-registry', ['garbage-collect', configPath]);
      if (done.code !== 0) throw new Error(`garbage-collect: ${done.stderr}`);
    },
    stop: async () => {
      await stop(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function readManifest(dir: string, repository: string, tag: string): Promise<StoredManifest> {
  const link = path.join(dir, 'repositories', repository, '_manifests/tags', tag, 'current/link');
  const digest = await readFile(link, 'utf8');
  const hex = digest.slice('sha256:'.length);
  const blob = await readFile(path.join(dir, 'blobs/sha256', hex.slice(0, 2), hex, 'data'), 'utf8');
  const manifest = JSON.parse(blob) as { config: { digest: string }; layers: { digest: string }[] };
  return {
    digest,
    configDigest: manifest.config.digest,
    layerDigests: manifest.layers.map((layer) => layer.digest),
  };
}
