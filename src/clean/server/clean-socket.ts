import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { connectTo, listenOn } from '../../system/unix-socket.ts';

/** The cleaner's socket, open. Whoever listens on it is the cleaner. */
export type CleanSocket = { close(): Promise<void> };

/** Front doors keep one connection each; commands come and go. */
const maxConnections = 256;

/**
 * Takes the socket for this process. Its user and group may connect.
 *
 * @throws OperatorError when another cleaner has it, or it cannot be made
 */
export async function takeCleanSocket(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<CleanSocket> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    const other = await connectTo(path);
    if (other !== null) {
      other.destroy();
      throw new OperatorError(
        `Another cleaner listens on ${path}: end it first, or give this one a clean.socket of its own.`,
      );
    }
    await removeStale(path);
    const server = createServer(onConnection);
    server.maxConnections = maxConnections;
    await listenOn(server, path);
    await chmod(path, 0o660);
    return { close: () => new Promise((resolve) => server.close(() => resolve())) };
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `The socket ${path} (clean.socket) cannot be opened: ${(error as Error).message}. Its folder must be writable by the cleaner's user.`,
      { cause: error },
    );
  }
}

/** Removes what a killed cleaner left behind. A file of another kind is somebody's own. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isSocket()) throw new Error('there is a file that is no socket');
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
