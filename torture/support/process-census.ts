import { readdir, readFile, readlink } from 'node:fs/promises';
import { until } from '../../test/support/redis.ts';

/** The resources of a process and its descendants (Linux, /proc). */
export type Census = {
  readonly processes: number;
  readonly threads: number;
  readonly residentBytes: number;
  /** Open descriptors by kind: socket, pipe, eventpoll, or a file's path. */
  readonly descriptors: ReadonlyMap<string, number>;
};

export async function takeCensus(pid: number): Promise<Census> {
  const pids = await listTree(pid);
  const descriptors = new Map<string, number>();
  let threads = 0;
  let residentBytes = 0;
  for (const each of pids) {
    const status = await readFile(`/proc/${each}/status`, 'utf8');
    const read = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? NaN);
    threads += read('Threads');
    residentBytes += read('VmRSS') * 1024;
    for (const fd of await readdir(`/proc/${each}/fd`)) {
      const link = await readlink(`/proc/${each}/fd/${fd}`).catch(() => null); // closed meanwhile
      if (link === null) continue;
      const kind = /^(socket|pipe):/.exec(link)?.[1] ?? link.replace(/^anon_inode:/, '');
      descriptors.set(kind, (descriptors.get(kind) ?? 0) + 1);
    }
  }
  return { processes: pids.length, threads, residentBytes, descriptors };
}

async function listTree(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const trees = await Promise.all(children.split(' ').filter(Boolean).map(Number).map(listTree));
  return [pid, ...trees.flat()];
}

/** Describes what grew from `before` to `after`; empty: nothing. */
export function describeGrowth(before: Census, after: Census): string {
  const grown: string[] = [];
  for (const key of ['processes', 'threads'] as const)
    if (after[key] > before[key]) grown.push(`${key}: ${before[key]} → ${after[key]}`);
  for (const [kind, count] of after.descriptors) {
    const then = before.descriptors.get(kind) ?? 0;
    if (count > then) grown.push(`descriptors of ${kind}: ${then} → ${count}`);
  }
  return grown.join('; ');
}

/** What is kept beyond a load: V8's heap does not shrink at once. In bytes, of all processes. */
const keptBytes = 192 * 1024 * 1024;

/**
 * Waits until a process and its descendants hold no more sockets, files and memory than before.
 * @param keptConnections how many more may be kept for the next requests
 * @throws Error if that takes too long
 */
export async function untilReleased(pid: number, before: Census, keptConnections: number): Promise<void> {
  let excess = '';
  await until('', async () => {
    const now = await takeCensus(pid);
    const more = [...now.descriptors]
      .map(([kind, count]) => ({ kind, count, then: before.descriptors.get(kind) ?? 0 }))
      .filter(({ kind, count, then }) =>
        // Of "/" libuv keeps one open from the first shortage on, to give it up in the next.
        kind === 'socket' ? count > then + keptConnections : /^\/./.test(kind) && count > then,
      )
      .map(({ kind, count, then }) => `descriptors of ${kind}: ${then} → ${count}`);
    const grownBytes = now.residentBytes - before.residentBytes;
    if (grownBytes > keptBytes) more.push(`memory: ${Math.round(grownBytes / 2 ** 20)} MiB more`);
    excess = more.join('; ');
    return excess === '';
  }).catch(() => {
    throw new Error(`more is held than before: ${excess}`);
  });
}
