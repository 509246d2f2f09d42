import { stat } from 'node:fs/promises';
import { connect, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';

/** Longer paths are cut, unasked (unix(7), sun_path). */
const maxPathBytes = 107;

const writableByAll = 0o002;

/**
 * Connects to a Unix socket; null: nobody listens there. @throws Error when it may not be asked, does not answer, or
 * anyone could have put it there
 */
export async function connectTo(path: string): Promise<Socket | null> {
  const folder = dirname(path);
  const status = await stat(folder).catch(() => null); // connect(2) says what is wrong
  if (status !== null && (status.mode & writableByAll) !== 0)
    throw new Error(
      `everyone may write to its folder ${folder}, so anyone could listen there: chmod o-w ${folder}`,
    );
  return new Promise((resolve, reject) => {
    const tooLong = Buffer.byteLength(path) - maxPathBytes;
    if (tooLong > 0) {
      reject(new Error(`the path ${path} is ${tooLong} bytes too long for a socket`));
      return;
    }
    const socket = connect({ path, allowHalfOpen: true });
    const onError = (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

/** Listens on a Unix socket whose path is free. @throws Error when it cannot be made */
export function listenOn(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      server.on('error', () => {}); // a connection that could not be accepted
      resolve();
    });
  });
}
