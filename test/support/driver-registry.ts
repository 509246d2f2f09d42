import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parse } from 'yaml';
import { storeUser, type ObjectStore } from './object-store.ts';
import { root, stop } from './processes.ts';

/** A real registry on loopback with its images anywhere, which can be restarted on its port. */
export type DriverRegistry = {
  readonly url: string;
  /** Its configuration, which its collector reads too. */
  readonly configPath: string;
  readonly process: () => ChildProcess;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export type StorageDriver = Readonly<Record<string, Record<string, unknown>>>;

/** Environment variables of this machine that a driver reads. */
export const registryEnv = { ...process.env, AWS_CA_BUNDLE: undefined, AWS_PROFILE: undefined };

/** The driver as deploy/registry/swift.yml has it, with this store in the place of another. */
export const swiftDriver = (store: ObjectStore, container: string): StorageDriver => ({
  swift: {
    ...without(readDriver('swift'), ['domain', 'tenant', 'region']),
    authurl: `${store.url}/auth/v1.0`,
    authversion: 1,
    username: storeUser.name,
    password: storeUser.key,
    container,
    chunksize: 5 * 1024 * 1024,
  },
});

/** The same of deploy/registry/s3.yml, by its advice for stores that are not AWS. */
export const s3Driver = (store: ObjectStore, bucket: string): StorageDriver => ({
  s3: {
    ...readDriver('s3'),
    region: 'us-east-1',
    regionendpoint: store.url,
    forcepathstyle: true,
    secure: false,
    encrypt: false,
    accesskey: storeUser.name,
    secretkey: storeUser.key,
    bucket,
    chunksize: 5 * 1024 * 1024,
  },
});

function readDriver(name: 's3' | 'swift'): Record<string, unknown> {
  const text = readFileSync(`${root}deploy/registry/${name}.yml`, 'utf8');
  const { storage } = parse(text) as { storage: Record<string, Record<string, unknown>> };
  return storage[name] ?? {};
}

function without(values: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));
}

/**
 * @param program the registry: `docker-registry`, or a distribution of another version
 * @param redirects whether it sends clients to the storage
 * @param within a command prefix to start it with, for example to enter a network namespace.
 */
export async function startDriverRegistry({
  program = 'docker-registry',
  driver,
  redirects = false,
  within = [],
}: {
  program?: string;
  driver: StorageDriver;
  redirects?: boolean;
  within?: readonly string[];
}): Promise<DriverRegistry> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-registry-'));
  const configPath = path.join(dir, 'config.yml');
  const write = (port: number) =>
    writeFile(
      configPath,
      JSON.stringify({
        version: '0.1',
        log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
        storage: {
          ...driver,
          delete: { enabled: true },
          redirect: { disable: !redirects },
          cache: { blobdescriptor: 'inmemory' },
        },
        http: { addr: `127.0.0.1:${port}`, secret: 'for one test only' },
      }),
    );
  await write(0);
  const command = [...within, program, 'serve', configPath];
  // Swift's server may leave the end of an empty body on a connection. The driver gives up then at its start, and whatever manages
  // the service starts it again.
  let { child, port } = await serve(command).catch((error: unknown) => {
    if (String(error).includes('malformed HTTP response')) return serve(command);
    throw error;
  });
  await write(port);
  return {
    url: `http://127.0.0.1:${port}`,
    configPath,
    process: () => child,
    restart: async () => {
      await stop(child);
      ({ child, port } = await serve(command));
    },
    stop: async () => {
      await stop(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function serve(command: readonly string[]): Promise<{ child: ChildProcess; port: number }> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: registryEnv });
  let said = '';
  const listening = new Promise<number>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port !== undefined) resolve(Number(port));
      else said = `${said}${line}\n`.slice(-4000);
    });
  });
  const died = once(child, 'exit').then(() => {
    throw new Error(`${command.join(' ')} ended before it was ready: ${said}`);
  });
  const port = await Promise.race([listening, died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  return { child, port };
}
