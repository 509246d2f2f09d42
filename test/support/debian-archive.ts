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
/** What the packages start by themselves: the registry and Redis on ports that are wanted here, apt without a network. */
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
/** One to three and a half minutes, most of it downloads. */
const bootstrapLimitMs = 300_000;

/**
 * The path of an archive of a whole minimal Debian, made once for each checkout. It goes out to the network.
 * @throws with the reason where it can't be had.
 */
export async function prepareDebian(): Promise<string> {
  const id = createHash('sha256').update(bootstrapArgs.join('\0')).digest('hex').slice(0, 12);
  const archive = path.join(cacheFolder, `debian-${id}.tar`);
  if (await stat(archive).catch(() => null)) return archive;
  await mkdir(cacheFolder, { recursive: true });
  for (const name of await readdir(cacheFolder))
    if (/^debian-\w+\.tar$/.test(name)) await rm(path.join(cacheFolder, name), { force: true });
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mmdebstrap-'));
  // mmdebstrap knows by the name that a tar is wanted.
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

/** In namespaces of its own, so that at the limit everything that mmdebstrap has begun ends, and its mounts do. */
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
