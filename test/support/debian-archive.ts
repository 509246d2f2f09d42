import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unshareArgs } from './nspawn.ts';
import { root } from './processes.ts';

const packages = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'docker-registry',
  'redis-server',
  'iproute2',
  'logrotate',
];
/** Units that the packages start: registry and Redis on ports that the tests need, and apt, which has no network. */
const quiet = [
  'chroot "$1" systemctl disable docker-registry.service redis-server.service',
  'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer logrotate.timer',
  'echo 127.0.0.1 localhost registry.test >"$1/etc/hosts"',
];
const aptOptions = ['Acquire::Languages "none"', 'Acquire::Retries "2"', 'Acquire::http::Timeout "20"'];
const bootstrapArgs = [
  ...['--variant=minbase', '--dpkgopt=force-unsafe-io', `--include=${packages.join(',')}`],
  ...aptOptions.map((option) => `--aptopt=${option}`),
  ...quiet.map((command) => `--customize-hook=${command}`),
  'bookworm',
];
export const cacheFolder = `${root}node_modules/.cache/tidegate-tests`;
/** It takes one to three and a half minutes, mostly for downloads. */
const bootstrapLimitMs = 300_000;

/**
 * Returns the path of an archive of a minimal Debian, created once per checkout. It needs the network.
 * @throws Error with the reason if it cannot be created
 */
export async function prepareDebian(): Promise<string> {
  const id = createHash('sha256').update(bootstrapArgs.join('\0')).digest('hex').slice(0, 12);
  const archive = path.join(cacheFolder, `debian-${id}.tar`);
  if (await stat(archive).catch(() => null)) return archive;
  await mkdir(cacheFolder, { recursive: true });
  for (const name of await readdir(cacheFolder))
    if (/^debian-\w+\.tar$/.test(name)) await rm(path.join(cacheFolder, name), { force: true });
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mmdebstrap-'));
  // The name tells mmdebstrap to write a tar.
  const partial = `${archive}.${process.pid}.tar`;
  try {
    await bootstrap(dir, partial);
    await rename(partial, archive);
  } finally {
    await rm(partial, { force: true });
    await rm(dir, { recursive: true, force: true });
  }
  return archive;
}

/** Its own namespaces end all processes and mounts of mmdebstrap at the time limit. */
async function bootstrap(dir: string, archive: string): Promise<void> {
  const child = spawn('unshare', [...unshareArgs, 'mmdebstrap', ...bootstrapArgs, archive], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: dir },
    timeout: bootstrapLimitMs,
    killSignal: 'SIGKILL',
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr = `${stderr}${chunk.toString()}`.slice(-4000)));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === null) throw new Error(`mmdebstrap took longer than ${bootstrapLimitMs / 1000} s`);
  const faults = stderr.split('\n').filter((line) => /^(E|Err): |failure|could not/i.test(line));
  if (code !== 0) throw new Error(`mmdebstrap says: ${faults.join(' ').slice(0, 300) || stderr.slice(-300)}`);
}
