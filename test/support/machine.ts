import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { run, root, type Finished } from './processes.ts';
import { unlessPossible } from './requirement.ts';

/**
 * This machine with a network, processes and an /etc, /opt, /run, /var/lib, /var/log, /usr/sbin and /usr/local/bin of its own, which nobody
 * else sees and of which nothing stays; systemctl is service-manager.sh. Enough to install something and to run it.
 */
export type Machine = {
  /** Runs a program inside it to its end. */
  run(
    file: string,
    args: readonly string[],
    options?: { env?: NodeJS.ProcessEnv; input?: string },
  ): Promise<Finished>;
  /** The prefix of a command that runs on its network, and all else as outside. */
  readonly networkOnly: readonly string[];
  /** Lists its files, folders and links, without the backups of user lists: path to description. */
  snapshot(): Promise<Map<string, string>>;
  /** Lists processes, one a line: user and command line. */
  processes(): Promise<string>;
  /** Returns the calls of systemctl since the last call of this. */
  orders(): Promise<string[]>;
  close(): Promise<void>;
};

const setUp = `set -e
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/etc /mnt/bin /mnt/real-bin /mnt/sbin /mnt/real-sbin
cp -a /etc/. /mnt/etc/
mount --bind /usr/local/bin /mnt/real-bin
mount --bind /usr/sbin /mnt/real-sbin
for kind in bin sbin; do
  for each in /mnt/real-$kind/*; do ln -s "$each" /mnt/$kind/; done
done
mount --bind /mnt/etc /etc
for folder in /opt /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mount --bind /mnt/bin /usr/local/bin
mount --bind /mnt/sbin /usr/sbin
mkdir -p /run/systemd/system /run/stand-in
ln -s "$1" /run/stand-in/systemctl
echo ready
exec cat`;
const unshareArgs = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
const command = ['sh', '-c', setUp, 'sh', `${root}test/support/service-manager.sh`];

/** For a test's `skip`, as in requirement.ts. */
export function unlessMachine(): string | false {
  const tried = spawnSync('unshare', [...unshareArgs, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  return unlessPossible(tried.status === 0, 'root, and a system that lets it make namespaces and mounts');
}

/**
 * The commands that describe each file, folder and link of these folders; `except` is for find(1). passwd-, group- and their like
 * are backups that useradd(8) makes.
 */
export const describeFiles = (folders: string, except = ''): string => `cd /
find ${folders} ! -name .pwd.lock ! -path 'etc/*-' ${except} ! -type d -printf '%p\\t%M %u %g %l\\n'
find ${folders} ${except} -type d -printf '%p\\t%M %u %g\\n'
find ${folders} -type f ! -path 'etc/*-' ${except} -print0 | xargs -0 -r sha256sum | sed 's/^\\([0-9a-f]*\\) [ *]\\(.*\\)/\\2\\t\\1/'`;

/** Parses the output of these commands: path to description. */
export function parseSnapshot(printed: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of printed.split('\n')) {
    const [name = '', description = ''] = line.split('\t');
    if (name !== '') found.set(name, `${found.get(name) ?? ''} ${description}`.trim());
  }
  return found;
}

const list = describeFiles('etc opt var/lib var/log usr/sbin usr/local/bin');

export async function openMachine(): Promise<Machine> {
  const holder = spawn('unshare', [...unshareArgs, ...command], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(holder, 'close');
  await Promise.race([
    once(holder.stdout, 'data'),
    gone.then(() => {
      throw new Error('the namespaces could not be set up');
    }),
  ]);
  const namespaces = `/proc/${holder.pid ?? 0}/ns`;
  const enter = [
    `--net=${namespaces}/net`,
    `--mount=${namespaces}/mnt`,
    `--pid=${namespaces}/pid_for_children`,
  ];
  const runInside: Machine['run'] = (file, args, { env = {}, input = '' } = {}) =>
    run('nsenter', [...enter, file, ...args], {
      input,
      env: { PATH: `/run/stand-in:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, ...env },
      timeoutMs: 240_000,
    });
  const must = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await runInside('sh', ['-c', script]);
    if (code !== 0) throw new Error(stderr);
    return stdout;
  };
  return {
    run: runInside,
    networkOnly: ['nsenter', `--net=${namespaces}/net`],
    snapshot: async () => parseSnapshot(await must(list)),
    processes: () =>
      must(`for each in /proc/[0-9]*; do
        words=$(tr '\\0' ' ' <"$each/cmdline") && [ -n "$words" ] && echo "$(stat -c %U "$each") $words"
      done 2>/dev/null; true`),
    orders: async () =>
      (await must('cat /run/systemctl.log 2>/dev/null; rm -f /run/systemctl.log'))
        .split('\n')
        .filter(Boolean),
    close: async () => {
      holder.stdin.end();
      await gone;
    },
  };
}
