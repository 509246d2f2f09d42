import { appendFile, chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { prepareDebian } from './debian-archive.ts';
import { describeFiles, parseSnapshot } from './machine.ts';
import { bootFolder, wantsReboot, whyNoNspawn } from './nspawn.ts';
import { run, type Finished } from './processes.ts';

/**
 * A Debian of its own that systemd has booted, with a network of its own that reaches nothing. Its files are in a temporary
 * folder, and nothing of it stays. Node is this process's.
 */
export type Debian = {
  /** The folder of its files, on this machine. */
  readonly folder: string;
  /** Runs a program inside it to its end. */
  run(file: string, args: readonly string[], options?: { input?: string }): Promise<Finished>;
  /** The command that starts a program of this machine on its network. */
  onNetwork(file: string, args: readonly string[]): [string, string[]];
  /** Lists files, users, units, processes and listeners: path or name to description. */
  snapshot(): Promise<Map<string, string>>;
  /** Reboots it with systemd; resolves when it is up. */
  reboot(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Gives the reason, for a test's `skip`, where there can be no such Debian: without systemd-nspawn, root or a network, or in a
 * sandbox that lets nothing boot. None is a fault of what is tested, so that none is a failure with CI=true.
 */
export async function openDebian(): Promise<Debian | string> {
  const programs = ['systemd-nspawn', 'mmdebstrap', 'nsenter', 'unshare', 'tar'];
  const found = await run('sh', [
    '-c',
    'for each; do command -v "$each" || echo "no $each"; done',
    'sh',
    ...programs,
  ]);
  const missing = [...found.stdout.matchAll(/^no (.*)$/gm)].map(([, name]) => name);
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  if (process.getuid?.() !== 0) return 'systemd-nspawn needs root';
  try {
    const reason = await whyNoNspawn();
    return reason ?? (await unpackAndBoot(await prepareDebian()));
  } catch (error) {
    return `no Debian with systemd can be had here: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function unpackAndBoot(archive: string): Promise<Debian> {
  const parent = await mkdtemp(path.join(tmpdir(), 'tidegate-debian-'));
  try {
    const folder = path.join(parent, 'root');
    await mkdir(folder);
    const unpacked = await run('tar', ['-xpf', archive, '--numeric-owner', '-C', folder]);
    if (unpacked.code !== 0) throw new Error(unpacked.stderr);
    await copyFile(process.execPath, path.join(folder, 'usr/bin/node'));
    await chmod(path.join(folder, 'usr/bin/node'), 0o755);
    const tried = await run('chroot', [folder, '/usr/bin/node', '--version']);
    if (tried.code !== 0) throw new Error(`this Node does not run in a Debian 12: ${tried.stderr}`);
    return await boot(parent, folder);
  } catch (error) {
    await rm(parent, { recursive: true, force: true });
    throw error;
  }
}

/** An empty environment, and its own working directory. */
const environment = [
  ...['--ignore-environment', '--chdir=/root', 'HOME=/root', 'LANG=C.UTF-8'],
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
];

async function boot(parent: string, folder: string): Promise<Debian> {
  let machine = await bootFolder(folder);
  const inside: Debian['run'] = async (file, args, { input = '' } = {}) =>
    run('nsenter', ['--target', `${machine.leader}`, '--all', 'env', ...environment, file, ...args], {
      input,
      timeoutMs: 150_000,
    });
  return {
    folder,
    run: inside,
    onNetwork: (file, args) => ['nsenter', [`--net=/proc/${machine.leader}/ns/net`, file, ...args]],
    snapshot: async () => {
      const { code, stdout, stderr } = await inside('sh', ['-ec', describeAll]);
      if (code !== 0) throw new Error(stderr);
      return parseSnapshot(stdout);
    },
    reboot: async () => {
      await inside('systemctl', ['reboot']);
      const code = await machine.ended;
      await machine.end();
      if (code !== wantsReboot) throw new Error(`it ended with ${code} instead of a reboot`);
      machine = await bootFolder(folder);
    },
    close: async () => {
      await machine.end();
      await rm(parent, { recursive: true, force: true });
    },
  };
}

/** systemd's state, its journal and the lists of logins change by themselves. */
const ownState =
  '! -path "var/lib/systemd*" ! -path "var/log/journal*" ! -path "var/log/wtmp" ! -path "var/lib/private*"';
const describeAll = `${describeFiles('etc opt root home srv var/lib var/log var/cache usr/local', ownState)}
find usr -xdev -path usr/local -prune -o -newer etc/hosts -printf '%p\\tchanged\\n'
find run tmp var/tmp -maxdepth 2 -name '*tidegate*' -printf '%p\\t%M %u %g\\n'
systemctl list-unit-files --no-legend --plain | sed 's/^\\([^ ]*\\) */unit \\1\\t/'
systemctl list-units --all --no-legend --plain 'tidegate*' | sed 's/^\\([^ ]*\\) */loaded \\1\\t/'
getent passwd | sed 's/^/user /; s/$/\\tthere/'
getent group | sed 's/^/group /; s/$/\\tthere/'
ss -ltnH | sed 's/$/\\tlistens/'`;

/** Appends a line to one of its files. */
export const addLine = (machine: Debian, file: string, line: string): Promise<void> =>
  appendFile(path.join(machine.folder, file), `${line}\n`);
