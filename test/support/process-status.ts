import { readdir, readFile, readlink } from 'node:fs/promises';

/** Counts the open sockets of a process (Linux, /proc). */
export async function countSockets(pid: number): Promise<number> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith('socket:')).length;
}

/** Memory of a process in bytes: now, and its maximum so far (Linux, /proc). */
export async function readMemory(pid: number): Promise<{ nowBytes: number; peakBytes: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const read = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { nowBytes: read('VmRSS'), peakBytes: read('VmHWM') };
}
