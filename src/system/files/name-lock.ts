import { createServer, type Server } from 'node:net';

/** A name in the kernel that one process holds. It ends with the process, however that ends. */
export type NameLock = { release(): Promise<void> };

/**
 * Takes a name (an abstract socket of this network namespace, unix(7)), for which no place in a file system is needed;
 * null: another process has it.
 * @throws Error where there are no such sockets: everywhere but on Linux
 */
export async function takeName(name: string): Promise<NameLock | null> {
  if (process.platform !== 'linux') throw new Error('a name can be taken on Linux only');
  try {
    const server = await listen(`\0${name}`);
    return { release: () => new Promise((resolve) => server.close(() => resolve())) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return null;
    throw error;
  }
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ path, exclusive: true }, () => resolve(server.unref()));
  });
}
