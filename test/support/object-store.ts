import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { cacheFolder } from './debian-archive.ts';
import { root, run } from './processes.ts';

/** An OpenStack Swift on loopback that speaks S3 as well, with its objects in a temporary folder. */
export type ObjectStore = {
  /** Of its proxy. */
  readonly url: string;
  /** Creates a container, which S3 calls a bucket. */
  createContainer(name: string): Promise<void>;
  /** The bytes of all objects of a container, and of what belongs to it. */
  countBytes(container: string): Promise<number>;
  stop(): Promise<void>;
};

/** The credentials of its one user; Swift's name is `account:user`. */
export const storeUser = { name: 'test:registry', key: 'secret' } as const;

/**
 * Gives the reason, for a test's `skip`, where there can be none: without Debian's Python, its packages or attributes of
 * files. None is a fault of what is tested, so that none is a failure with CI=true.
 * @param within a command prefix to start it with, for example to enter a network namespace.
 */
export async function openObjectStore({ within = [] }: { within?: readonly string[] } = {}): Promise<
  ObjectStore | string
> {
  let packages: string;
  try {
    await must(python, ['-c', tryAttributes], tmpdir());
    packages = await preparePackages();
  } catch (error) {
    return `no Swift can be had here: ${error instanceof Error ? error.message : String(error)}`;
  }
  return startObjectStore(packages, within);
}

/** Debian's: the packages are built for no other. */
const python = '/usr/bin/python3';
/** Swift keeps what it knows of an object in attributes of its file. */
const tryAttributes = `import os, tempfile
with tempfile.TemporaryDirectory(dir='.') as folder: os.setxattr(folder, 'user.swift', b'')`;
const wanted = 'python3-swift';

/**
 * Returns a folder with the files of Debian's Swift and what it needs beyond this machine's packages, unpacked once per
 * checkout: nothing is installed. The packages of its servers would start services and a syslog daemon.
 */
async function preparePackages(): Promise<string> {
  const names = (await listPackages()) ?? (await updateLists(), await listPackages());
  if (names === null) throw new Error(`apt-get knows no package ${wanted}`);
  const id = createHash('sha256').update(names.join('\n')).digest('hex').slice(0, 12);
  const folder = path.join(cacheFolder, `swift-${id}`);
  if (await stat(folder).catch(() => null)) return folder;
  await mkdir(cacheFolder, { recursive: true });
  const partial = await mkdtemp(path.join(cacheFolder, 'partial-'));
  try {
    await must('apt-get', ['download', '-qq', ...names], partial);
    for (const name of await readdir(partial))
      if (name.endsWith('.deb')) await must('dpkg', ['-x', name, 'root'], partial);
    await rename(path.join(partial, 'root'), folder);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return folder;
}

/** `NAME=VERSION` of each package to unpack; null: apt does not know. */
async function listPackages(): Promise<string[] | null> {
  const simulated = await run('apt-get', ['install', '--simulate', '--no-install-recommends', wanted]);
  if (simulated.code !== 0) return null;
  return [...simulated.stdout.matchAll(/^Inst (\S+) \((\S+)/gm)].map(
    ([, name, version]) => `${name}=${version}`,
  );
}

async function updateLists(): Promise<void> {
  if (process.getuid?.() === 0) await must('apt-get', ['update', '-qq'], '/');
}

async function must(file: string, args: readonly string[], cwd: string): Promise<void> {
  const done = await run(file, args, { cwd });
  if (done.code !== 0) throw new Error(`${file} ${args[0]}: ${done.stderr.trim().slice(-300)}`);
}

async function startObjectStore(packages: string, within: readonly string[]): Promise<ObjectStore> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-objects-'));
  const libraries = (await readdir(path.join(packages, 'usr/lib'))).filter((name) =>
    name.endsWith('-linux-gnu'),
  );
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    TZ: 'UTC',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONPATH: path.join(packages, 'usr/lib/python3/dist-packages'),
    LD_LIBRARY_PATH: libraries.map((name) => path.join(packages, 'usr/lib', name)).join(':'),
  };
  const [file, ...args] = [...within, python, `${root}test/support/object-store.py`, dir];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
  child.on('error', () => {}); // 'close' follows
  child.stdin.on('error', () => {});
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-4000)));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await rm(dir, { recursive: true, force: true });
  };
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const address = /listening on (\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
  const died = once(child, 'close').then(() => {
    throw new Error(`Swift ended: ${said.trim().split('\n').at(-1) ?? ''}`);
  });
  try {
    const url = `http://${await Promise.race([listening, died])}`;
    died.catch(() => {});
    return { url, ...openSwift(url, within), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Talks to Swift with curl, which can do so from within a network namespace. */
function openSwift(
  url: string,
  within: readonly string[],
): Pick<ObjectStore, 'createContainer' | 'countBytes'> {
  const curl = async (...args: readonly string[]): Promise<string> => {
    const [file = '', ...rest] = [...within, 'curl', '--silent', '--show-error', '--fail', ...args];
    const done = await run(file, rest);
    if (done.code !== 0) throw new Error(`curl ${args.join(' ')}: ${done.stderr.trim()}`);
    return done.stdout;
  };
  const ask = async (target: string, ...args: readonly string[]): Promise<string> => {
    const login = [`X-Auth-User: ${storeUser.name}`, `X-Auth-Key: ${storeUser.key}`];
    const answer = await curl(
      '--include',
      ...login.flatMap((line) => ['--header', line]),
      `${url}/auth/v1.0`,
    );
    const token = /^x-auth-token: (\S+)/im.exec(answer)?.[1] ?? '';
    return curl('--header', `X-Auth-Token: ${token}`, ...args, `${url}/v1/AUTH_test${target}`);
  };
  const list = async <Item>(target: string) =>
    JSON.parse(await ask(`${target}?format=json&limit=10000`)) as Item[];
  return {
    createContainer: async (name) => {
      await ask(`/${name}`, '--request', 'PUT');
    },
    countBytes: async (container) => {
      // S3's parts are in a container of their own.
      const names = (await list<{ name: string }>('')).map(({ name }) => name);
      let sum = 0;
      for (const name of names.filter((each) => each.startsWith(container)))
        for (const { bytes } of await list<{ bytes: number }>(`/${name}`)) sum += bytes;
      return sum;
    },
  };
}
