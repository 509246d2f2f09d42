import { readdir, readlink } from 'node:fs/promises';
import { readMemory } from '../../test/support/process-status.ts';
import { until } from '../../test/support/redis.ts';

/** What one process holds: open descriptors by kind, and memory. */
export type Holdings = { readonly descriptors: number; readonly kinds: string; readonly bytes: number };

/** Looks at a process (Linux, /proc). The record of usage does not count: it is opened when the first pull is written down. */
export async function readHoldings(pid: number): Promise<Holdings> {
  const names = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(names.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  const open = links.filter((link) => link !== '' && !link.includes('/usage/usage.db'));
  const sockets = open.filter((link) => link.startsWith('socket:')).length;
  const files = open.filter((link) => link.startsWith('/') && !link.startsWith('/dev/'));
  const kinds = `${sockets} sockets, ${files.length} files (${files.slice(0, 5).join(', ')})`;
  return { descriptors: open.length, kinds, bytes: (await readMemory(pid)).nowBytes };
}

/** Memory that a process may have kept after a storm: V8's heap does not shrink at once. After each 2,500 of 15,000 cases of smuggling it had 65 to 104 MiB more than at the start, up and down. */
const keptBytes = 128 * 1024 * 1024;

/** Waits until a process holds no more than it did. @throws Error when that does not come about. */
export async function untilBack(pid: number, before: Holdings): Promise<void> {
  let now = before;
  await until('', async () => (now = await readHoldings(pid)).descriptors <= before.descriptors).catch(() => {
    throw new Error(
      `descriptors leaked: ${before.descriptors} before (${before.kinds}), ${now.descriptors} after (${now.kinds})`,
    );
  });
  await until('', async () => (now = await readHoldings(pid)).bytes <= before.bytes + keptBytes).catch(() => {
    const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);
    throw new Error(
      `memory is not back: ${mebibytes(before.bytes)} MiB before, ${mebibytes(now.bytes)} MiB after`,
    );
  });
}
