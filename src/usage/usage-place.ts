import { chmod, mkdir, stat, unlink } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connectTo, listenOn } from '../system/unix-socket.ts';

/** The folder of the record. Whoever listens on the socket in it has the record open. */
export type UsagePlace = {
  /** Whether nobody else has taken it over. */
  isOurs(): Promise<boolean>;
  close(): Promise<void>;
};

/** The files of the record, below state.dir. */
export function usagePaths(stateDir: string): { folder: string; file: string; socket: string } {
  const folder = join(stateDir, 'usage');
  return { folder, file: join(folder, 'usage.db'), socket: join(folder, 'usage.sock') };
}

/** Those who ask wait for each other beyond it. */
const maxConnections = 8;

/**
 * Takes the folder for this process, and answers there. @throws Error when it cannot be written to, or another process
 * has it
 */
export async function takeUsagePlace(
  stateDir: string,
  answer: (socket: Socket) => void,
): Promise<UsagePlace> {
  const { folder, socket } = usagePaths(stateDir);
  await mkdir(stateDir, { recursive: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const other = await connectTo(socket);
  if (other !== null) {
    other.destroy();
    throw new Error(`another Tidegate has ${folder} open`);
  }
  await unlink(socket).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
  const server = createServer({ allowHalfOpen: true }, answer);
  server.maxConnections = maxConnections;
  await listenOn(server, socket);
  server.unref();
  await chmod(socket, 0o600);
  const { ino } = await stat(socket);
  return {
    isOurs: async () => {
      try {
        return (await stat(socket)).ino === ino;
      } catch {
        return false;
      }
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
