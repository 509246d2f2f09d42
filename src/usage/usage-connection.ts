import { connect, type Socket } from 'node:net';

/** Longer paths are cut, unasked (unix(7), sun_path). */
const maxPathBytes = 107;

/**
 * Connects to the socket of a running Tidegate; null: there is none. @throws Error when it may not be asked, or does not
 * answer
 */
export function connectTo(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const tooLong = Buffer.byteLength(path) - maxPathBytes;
    if (tooLong > 0) {
      reject(new Error(`the path of state.dir is ${tooLong} bytes too long for a socket in it`));
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
