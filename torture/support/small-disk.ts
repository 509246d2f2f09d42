import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mainPath, run, stop, type Finished } from '../../test/support/processes.ts';

/** Whether this machine lets one mount a file system of one's own, in a mount namespace of its own. */
export const canMount =
  spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt'], { stdio: 'ignore' })
    .status === 0;

/** Who writes there meanwhile takes no more than so many while most of it is taken at once. */
const pagesOfOthers = 256;

/** A file system of a few pages, which only those see that enter its namespace. */
export type SmallDisk = {
  /** Where it is, for those within. */
  readonly path: string;
  /** The same from outside. */
  readonly outside: string;
  /** A command to start programs with that are to see it. */
  readonly within: readonly string[];
  /** Leaves room for so many pages. */
  fill(pagesLeft: number): Promise<void>;
  empty(): Promise<void>;
  /** Runs the program itself, within. */
  tidegate(args: readonly string[], input?: string): Promise<Finished>;
  remove(): Promise<void>;
};

export async function makeSmallDisk(size: string): Promise<SmallDisk> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-small-disk-'));
  const disk = path.join(dir, 'disk');
  await mkdir(disk);
  const script = `mount -t tmpfs -o size=${size} tmpfs "$0" && echo mounted && exec sleep 100000`;
  const holder = spawn('unshare', ['--mount', 'sh', '-c', script, disk], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  const pid = String(holder.pid);
  const outside = path.join(`/proc/${pid}/root`, disk);
  const within = ['nsenter', '--mount', '--target', pid];
  const [file = '', ...words] = within;
  return {
    path: disk,
    outside,
    within,
    fill: async (pagesLeft) => {
      const { bavail, bsize } = await statfs(outside);
      const filler = path.join(outside, 'filler');
      const pages = bavail - pagesLeft - (pagesLeft === 0 ? pagesOfOthers : 0);
      const done = await run('fallocate', ['-l', String(Math.max(1, pages) * bsize), filler]);
      if (done.code !== 0) throw new Error(done.stderr);
      if (pagesLeft > 0) return;
      const page = Buffer.alloc(bsize);
      try {
        for (;;) await appendFile(filler, page);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    },
    empty: () => rm(path.join(outside, 'filler'), { force: true }),
    tidegate: (args, input = '') => run(file, [...words, process.execPath, mainPath, ...args], { input }),
    remove: async () => {
      await stop(holder, 'SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}
