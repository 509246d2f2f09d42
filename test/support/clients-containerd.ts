import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { EngineNamespace } from './engine-namespace.ts';
import type { Image } from './image.ts';
import { run, type Finished } from './processes.ts';

/** A containerd with its ctr; it has no login: name and password, `name:password`, come with every command. */
export type Containerd = {
  push(repositoryTag: string, credentials: string | null): Promise<Finished>;
  pull(repositoryTag: string, credentials: string | null): Promise<Finished>;
  /** Waits for its end, which the closing of its namespace brings, and removes its data. */
  cleanUp(): Promise<void>;
};

/** Starts it, with an image to push and the CA to trust. */
export async function startContainerd(options: {
  namespace: EngineNamespace;
  caPath: string;
  image: Image;
}): Promise<Containerd> {
  const { namespace, image } = options;
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-containerd-'));
  const configPath = path.join(dir, 'config.toml');
  const hostDir = path.join(dir, 'hosts', namespace.host);
  const server = `https://${namespace.host}`;
  const config = `version = 2
root = "${dir}/root"
state = "${dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${dir}/containerd.sock"
`;
  await writeFile(configPath, config);
  await mkdir(hostDir, { recursive: true });
  await writeFile(
    `${hostDir}/hosts.toml`,
    `server = "${server}"\n\n[host."${server}"]\nca = "${options.caPath}"\n`,
  );
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
  const reach = (credentials: string | null) => [
    ...(credentials === null ? [] : ['--user', credentials]),
    ...['--hosts-dir', path.join(dir, 'hosts')],
  ];
  return {
    push: (repositoryTag, credentials) =>
      ctr('images', 'push', ...reach(credentials), `${namespace.host}/${repositoryTag}`, image.name),
    pull: async (repositoryTag, credentials) => {
      await ctr('images', 'remove', '--sync', image.name);
      const reference = `${namespace.host}/${repositoryTag}`;
      const done = await ctr('images', 'pull', '--snapshotter', 'native', ...reach(credentials), reference);
      await ctr('images', 'remove', '--sync', reference);
      return done;
    },
    cleanUp: async () => {
      await gone;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
