import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { EngineNamespace } from './engine-namespace.ts';
import type { Image } from './image.ts';
import { run, type Finished } from './processes.ts';

/** A containerd with ctr. It has no login: every command takes `name:password`. */
export type Containerd = {
  /** `knowsCa`: whether it trusts Tidegate's CA, set up as `cert trust` says; the default is true. */
  push(repositoryTag: string, credentials: string | null, knowsCa?: boolean): Promise<Finished>;
  /** Removes its images first, so that it downloads everything. */
  pull(repositoryTag: string, credentials: string | null): Promise<Finished>;
  /** Runs a command of ctr. */
  ctr(...command: readonly string[]): Promise<Finished>;
  /** What it prints about an image that it has pulled, with the digest. */
  describe(repositoryTag: string): Promise<string>;
  /** Waits until it ends, which closing its namespace causes, and removes its data. */
  cleanUp(): Promise<void>;
};

/** Starts it with an image to push, and the CA to trust. */
export async function startContainerd(options: {
  namespace: EngineNamespace;
  caPath: string;
  image: Image;
}): Promise<Containerd> {
  const { namespace, image } = options;
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-containerd-'));
  const configPath = path.join(dir, 'config.toml');
  const config = `version = 2
root = "${dir}/root"
state = "${dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${dir}/containerd.sock"
`;
  await writeFile(configPath, config);
  const server = `https://${namespace.host}`;
  for (const [name, ca] of [
    ['knowing', `ca = "${options.caPath}"\n`],
    ['unknowing', ''],
  ] as const) {
    const hostDir = path.join(dir, name, namespace.host);
    await mkdir(hostDir, { recursive: true });
    await writeFile(`${hostDir}/hosts.toml`, `server = "${server}"\n\n[host."${server}"]\n${ca}`);
  }
  const [file, ...args] = [...namespace.inside, 'containerd', '--config', configPath];
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const gone = once(child, 'close');
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('containerd successfully booted')) resolve();
    });
  });
  const died = gone.then(() => {
    throw new Error('containerd ended before it was ready');
  });
  await Promise.race([ready, died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  const ctr = (...command: readonly string[]): Promise<Finished> => {
    const [name, ...rest] = [...namespace.inside, 'ctr', '--address', `${dir}/containerd.sock`];
    return run(name, [...rest, ...command]);
  };
  const imported = await ctr('images', 'import', '--snapshotter', 'native', image.archivePath);
  if (imported.code !== 0) throw new Error(`ctr images import: ${imported.stderr}`);
  const reach = (credentials: string | null, knowsCa = true) => [
    ...(credentials === null ? [] : ['--user', credentials]),
    ...['--hosts-dir', path.join(dir, knowsCa ? 'knowing' : 'unknowing')],
  ];
  const referenceOf = (repositoryTag: string) => `${namespace.host}/${repositoryTag}`;
  return {
    ctr,
    push: (repositoryTag, credentials, knowsCa) =>
      ctr('images', 'push', ...reach(credentials, knowsCa), referenceOf(repositoryTag), image.name),
    pull: async (repositoryTag, credentials) => {
      const reference = referenceOf(repositoryTag);
      // One by one: it waits for garbage collection only after the last, if that image existed.
      for (const name of [image.name, reference]) await ctr('images', 'remove', '--sync', name);
      return ctr('images', 'pull', '--snapshotter', 'native', ...reach(credentials), reference);
    },
    describe: async (repositoryTag) =>
      (await ctr('images', 'list', `name==${referenceOf(repositoryTag)}`)).stdout,
    cleanUp: async () => {
      await gone;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
