import tls from 'node:tls';

/** Each reader takes what has arrived this often: some hundred KiB a second. */
const intervalMs = 200;

/**
 * Opens downloads of one blob that are read slowly, and waits until each has some bytes.
 * @param {import('./rig.mjs').Rig} rig
 * @param {import('./rig.mjs').Subject} subject
 * @param {{ count: number, target: string }} options
 */
export async function startSlowReaders({ ca, credentials }, subject, { count, target }) {
  let failure;
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = tls.connect({ host: '127.0.0.1', port: subject.port, servername: 'localhost', ca });
      socket.on('error', (error) => (failure ??= error.message));
      socket.on('end', () => (failure ??= 'a download ended too early'));
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: localhost:${subject.port}\r\nAuthorization: ${credentials.authorization}\r\n\r\n`,
      );
      await new Promise((resolve) => socket.once('readable', resolve).once('close', resolve));
      const head = socket.read()?.toString('latin1') ?? '';
      if (!head.startsWith('HTTP/1.1 200 ')) failure ??= `a download was answered ${head.split('\r')[0]}`;
      return socket;
    }),
  );
  const timer = setInterval(() => {
    for (const socket of sockets) socket.read();
  }, intervalMs);
  return {
    /** Throws if a download has ended. */
    stop: () => {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
      if (failure !== undefined) throw new Error(`${subject.name}: ${failure}`);
    },
  };
}
