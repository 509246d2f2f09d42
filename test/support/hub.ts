import { spawn } from 'node:child_process';
import { on } from 'node:events';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { digestOf, type HubManifest, type HubMood, type HubOrder, type HubRequest } from './hub-server.ts';
import { stop } from './processes.ts';
import { startRegistry, type Registry } from './registry.ts';

/**
 * A registry that plays Docker Hub for a registry in proxy mode: it gives pull tokens to anyone, and lets a test set its
 * mood. It is a process of its own, which can be in a network namespace.
 */
export type Hub = {
  readonly url: string;
  /** Changes its mood and leaves the rest of it. */
  be(mood: Partial<HubMood>): Promise<void>;
  addBlob(bytes: Uint8Array): Promise<string>;
  addManifest(manifest: HubManifest & { readonly bytes: Uint8Array }): Promise<string>;
  /** The requests since the last call. */
  requests(): Promise<readonly HubRequest[]>;
  stop(): Promise<void>;
};

export type HubImage = {
  readonly repository: string;
  readonly digest: string;
  /** Of its manifest. */
  readonly size: number;
  readonly configDigest: string;
  readonly layerDigests: readonly string[];
};

/** Whose credentials its tokens take. */
export const hubUser = { username: 'mirror', password: 'hub secret' } as const;

export const types = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  list: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
} as const;

/** @param within a command prefix to start it with, for example to enter a network namespace. */
export async function startHub({ within = [] }: { within?: readonly string[] } = {}): Promise<Hub> {
  const program = fileURLToPath(new URL('hub-server.js', import.meta.url));
  const user = `${hubUser.username}:${hubUser.password}`;
  const [file, ...args] = [...within, process.execPath];
  const child = spawn(file, [...args, program, user], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  const answers = on(child, 'message');
  const next = async () => {
    const { value } = (await answers.next()) as { value: [{ done: unknown }] };
    return value[0].done;
  };
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: answers come in the orders' order. */
  const order = async (what: HubOrder): Promise<unknown> => {
    const before = last;
    const done = (async () => {
      await before;
      child.send(what);
      return next();
    })();
    last = done;
    return done;
  };
  const port = (await next()) as number;
  return {
    url: `http://127.0.0.1:${port}`,
    be: async (mood) => {
      await order({ order: 'mood', mood });
    },
    addBlob: async (bytes) => (await order({ order: 'blob', bytes })) as string,
    addManifest: async (manifest) => (await order({ order: 'manifest', ...manifest })) as string,
    requests: async () => (await order({ order: 'requests' })) as HubRequest[],
    stop: () => stop(child),
  };
}

/** A docker-registry that is a mirror of the hub. */
export const startMirror = (
  hub: Hub,
  options: { within?: readonly string[]; credentials?: { username: string; password: string } } = {},
): Promise<Registry> => {
  const { within, credentials = {} } = options;
  return startRegistry({ ...(within && { within }), proxy: { remoteurl: hub.url, ...credentials } });
};

/** Adds an image of two layers that a client can unpack. */
export async function addHubImage(hub: Hub, repository: string, tag: string | null): Promise<HubImage> {
  const layers = await Promise.all(
    ['first', 'second'].map(async (name) => {
      const plain = tarOf(`${name}.bin`, randomBytes(40_000));
      const bytes = gzipSync(plain);
      return { diffId: digestOf(plain), size: bytes.length, digest: await hub.addBlob(bytes) };
    }),
  );
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/first.bin'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const configDigest = await hub.addBlob(config);
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, size: config.length, digest: configDigest },
    layers: layers.map(({ size, digest }) => ({ mediaType: types.layer, size, digest })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = await hub.addManifest({ repository, tag, type: types.manifest, bytes });
  return {
    repository,
    digest,
    size: bytes.length,
    configDigest,
    layerDigests: layers.map((layer) => layer.digest),
  };
}

/** Adds an index of two images, the first for linux/amd64. */
export async function addHubIndex(
  hub: Hub,
  repository: string,
  tag: string,
): Promise<{ readonly digest: string; readonly images: readonly HubImage[] }> {
  const images = [await addHubImage(hub, repository, null), await addHubImage(hub, repository, null)];
  const index = {
    schemaVersion: 2,
    mediaType: types.list,
    manifests: images.map(({ digest, size }, i) => ({
      mediaType: types.manifest,
      size,
      digest,
      platform: { os: 'linux', architecture: i === 0 ? 'amd64' : 'arm64' },
    })),
  };
  const bytes = Buffer.from(JSON.stringify(index));
  return { images, digest: await hub.addManifest({ repository, tag, type: types.list, bytes }) };
}

/** A tar archive of one file (POSIX.1-1988, ustar). */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(content.length, 12) + octal(0, 12), 100);
  header.write('        0', 148); // the checksum counts as spaces
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
}
