import { once } from 'node:events';
import { createServer } from 'node:net';
import { OperatorError } from '../system/operator-error.ts';

const httpsPort = 443;
const substitutePorts = Array.from({ length: 100 }, (_, index) => 8443 + index);

/** Finds a free port; another program may still take it first. */
export async function pickFreePort(host: string): Promise<number> {
  const bound = await bind(host, 0);
  if (typeof bound === 'number') return bound;
  throw new OperatorError(`No port is available on ${host} (${bound.code}): check this machine's network.`);
}

/**
 * Chooses the port: the requested one, else 443, else the first free one from 8443 on when 443 is taken or may not be
 * bound.
 * @param asked null: none requested
 * @throws OperatorError when the requested one is not available.
 */
export async function choosePort(host: string, asked: number | null): Promise<number> {
  if (asked !== null) {
    const bound = await bind(host, asked);
    if (typeof bound === 'number') return bound;
    throw new OperatorError(refuse(host, asked, bound.code));
  }
  for (const port of [httpsPort, ...substitutePorts]) {
    const bound = await bind(host, port);
    if (typeof bound === 'number') return bound;
    if (bound.code !== 'EACCES' && bound.code !== 'EADDRINUSE') {
      throw new OperatorError(refuse(host, port, bound.code));
    }
  }
  throw new OperatorError('Port 443 and all from 8443 to 8542 are taken: name a free one with --port N.');
}

function refuse(host: string, port: number, code: string): string {
  if (code === 'EADDRINUSE') {
    return `Port ${port} is taken by another program: name a free one with "npm start -- --port N", or stop that program.`;
  }
  if (code === 'EACCES') {
    return `This user may not listen on port ${port}: name one above 1023 with "npm start -- --port N", or start as root.`;
  }
  return `${host} port ${port} cannot be listened on (${code}): check listen.host in the configuration.`;
}

async function bind(host: string, port: number): Promise<number | { code: string }> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    // Without IPv6 in the kernel, listen on all IPv4 addresses.
    if (host === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'))
      return await bind('0.0.0.0', port);
    return { code };
  } finally {
    server.close();
  }
}
