import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { run } from './processes.ts';
import { until } from './redis.ts';

/** A system in a folder, booted by systemd-nspawn. */
export type Booted = {
  /**
   * The process id of its systemd, outside the container.
   * @throws Error if it has ended: another process may have that number by now.
   */
  readonly leader: number;
  /** The exit status of systemd-nspawn; {@link wantsReboot} if the system asks for a reboot. */
  readonly ended: Promise<number | null>;
  /** Ends all of its processes, and removes what it has outside the folder. */
  end(): Promise<void>;
};

export const wantsReboot = 133;
/** 3 s on two quiet cores. */
const bootLimitMs = 90_000;
const probeLimitMs = 30_000;

/** Without this machine's D-Bus, journal and network. */
const options = [
  ...['--quiet', '--register=no', '--keep-unit', '--private-network', '--resolv-conf=off', '--timezone=off'],
  ...['--link-journal=no', '--machine=registry', '--hostname=registry', '--console=pipe'],
];

/** Own namespaces: when `unshare` is killed, the kernel ends their processes and mounts. */
export const unshareArgs = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** The control group of this process in each hierarchy that systemd uses, as lines. */
const listGroups = `list_groups() {
  v1=$(sed -n 's/^[0-9]*:name=systemd://p' /proc/self/cgroup)
  v2=$(sed -n 's/^0:://p' /proc/self/cgroup)
  [ -z "$v1" ] || echo "/sys/fs/cgroup/systemd$v1"
  for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    [ ! -e "$top/cgroup.controllers" ] || echo "$top$v2"
  done
}`;
/**
 * systemd-nspawn leaves folders below /run, which therefore is its own here. Below the control group that it is in it makes
 * "payload": two machines in one group would end each other's services.
 */
const enterAndExec = `set -e
${listGroups}
mount -t tmpfs -o mode=755 tmpfs /run
group=$1; shift
for parent in $(list_groups); do
  mkdir -p "$parent/$group"
  echo $$ >"$parent/$group/cgroup.procs"
done
exec systemd-nspawn "$@"`;
const removeGroups = `${listGroups}
for parent in $(list_groups); do
  [ ! -d "$parent/$1" ] || find "$parent/$1" -depth -type d -exec rmdir {} +
done`;

/** Tries all that a boot needs except its files. Returns why systemd-nspawn can't run here; undefined if it can. */
export async function whyNoNspawn(): Promise<string | undefined> {
  const { child, output, ended, end } = start(['--directory=/', '--volatile=yes', '/usr/bin/true']);
  const impatient = setTimeout(() => child.kill('SIGKILL'), probeLimitMs);
  const code = await ended;
  clearTimeout(impatient);
  await end();
  return code === 0 ? undefined : `systemd-nspawn can't run here: ${output().slice(-200) || 'it hung'}`;
}

/** @throws Error with its output if systemd and all services are not up in time */
export async function bootFolder(folder: string): Promise<Booted> {
  const { child, output, ended, end } = start([`--directory=${folder}`, '--boot']);
  const impatient = setTimeout(() => child.kill('SIGKILL'), bootLimitMs);
  try {
    const leader = await findLeader(child);
    const systemctl = (...args: string[]) =>
      run('nsenter', ['--target', `${leader}`, '--all', 'systemctl', ...args]);
    let state = '';
    await until(
      'the system is up',
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended');
        state = (await systemctl('is-system-running', '--wait')).stdout.trim();
        return /^(running|degraded)$/.test(state);
      },
      bootLimitMs,
    );
    if (state !== 'running') throw new Error((await systemctl('list-units', '--failed', '--plain')).stdout);
    return {
      get leader() {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('the system has ended');
        return leader;
      },
      ended,
      end: () => end(leader),
    };
  } catch (error) {
    await end();
    throw new Error(`systemd does not come up in systemd-nspawn: ${String(error)} ${output()}`);
  } finally {
    clearTimeout(impatient);
  }
}

function start(args: readonly string[]): {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
  end: (leader?: number) => Promise<void>;
} {
  const group = `tidegate-debian-${process.pid}-${randomBytes(4).toString('hex')}`;
  const words = ['sh', '-c', enterAndExec, 'sh', group, ...options, ...args];
  const child = spawn('unshare', [...unshareArgs, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output = `${output}${chunk.toString()}`.slice(-4000)));
  }
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return {
    child,
    output: () => output.trim(),
    ended,
    end: async (leader) => {
      child.kill('SIGKILL');
      await ended;
      if (leader !== undefined)
        await until('its processes are gone', () => !existsSync(`/proc/${leader}`), 30_000);
      const { stderr } = await run('sh', ['-c', removeGroups, 'sh', group]);
      if (stderr !== '') throw new Error(stderr);
    },
  };
}

/** unshare's child is systemd-nspawn, whose child becomes systemd. */
async function findLeader(child: ChildProcess): Promise<number> {
  let leader = 0;
  await until(
    'systemd is there',
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error('systemd-nspawn ended');
      const nspawn = await firstChild(child.pid ?? 0);
      leader = await firstChild(nspawn);
      const name = await readFile(`/proc/${leader}/comm`, 'utf8').catch(() => '');
      return name === 'systemd\n';
    },
    bootLimitMs,
  );
  return leader;
}

async function firstChild(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return Number.parseInt(children, 10) || 0;
}
