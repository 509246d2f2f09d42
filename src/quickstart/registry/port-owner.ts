import { readdir, readFile, readlink } from 'node:fs/promises';
import { readListening, type ListeningSocket } from '../../system/listening-table.ts';
import { printable } from '../../telemetry/log/printable.ts';

/** The process that listens on a port, as far as this user can see. */
export type PortOwner = {
  /** Null where the system does not tell. */
  readonly uid: number | null;
  /** Describes it, as "process 812 (docker-registry) of the user root"; null if unknown. */
  readonly description: string | null;
};

/** The addresses of sockets that answer at 127.0.0.1; the first existing one gets the connection. */
const answering = ['127.0.0.1', '0.0.0.0', '::'];

/** Finds the process that answers at a port of 127.0.0.1. */
export async function findPortOwner(port: number): Promise<PortOwner> {
  const sockets = (await readListening(port)) ?? [];
  const [socket] = answering.flatMap((address) => sockets.filter((each) => each.address === address));
  if (socket === undefined) return { uid: null, description: null };
  const [user, program] = await Promise.all([nameUser(socket.uid), findProcess(socket)]);
  return { uid: socket.uid, description: `${program ?? 'a process'} of ${user}` };
}

async function nameUser(uid: number): Promise<string> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const line = passwd.split('\n').find((each) => each.split(':')[2] === String(uid));
  const [name = ''] = line?.split(':') ?? [];
  return name === '' ? `the user with id ${uid}` : `the user ${printable(name)}`;
}

/** Undefined: its files are not visible, as those of other users. */
async function findProcess({ inode }: ListeningSocket): Promise<string | undefined> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const fd of fds) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (target !== `socket:[${inode}]`) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
      return `process ${pid} (${printable(name.trim())})`;
    }
  }
  return undefined;
}
