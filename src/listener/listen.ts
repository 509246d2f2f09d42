import type { Server } from 'node:http';
import { isIPv6, type AddressInfo } from 'node:net';
import { OperatorError } from '../system/operator-error.ts';

/**
 * The most connections that the kernel completes in advance; it also has its own limit (net.core.somaxconn, 4096 by
 * default).
 */
const backlog = 4096;

/**
 * Makes a server listen, and returns its address; `key` is the configuration's name of the port.
 * @throws OperatorError when it cannot listen there.
 */
export async function listen(
  server: Server,
  host: string,
  port: number,
  key: 'listen.port' | 'listen.httpPort' = 'listen.port',
): Promise<{ host: string; port: number }> {
  const attempt = (on: string) =>
    new Promise<AddressInfo>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: on, port, backlog, ipv6Only: false }, () => {
        server.off('error', reject);
        resolve(server.address() as AddressInfo);
      });
    });
  try {
    const { address, port: actual } = await attempt(host).catch((error: unknown) => {
      // "::" means both IP versions, or IPv4 alone if the kernel has no IPv6.
      const { code } = error as NodeJS.ErrnoException;
      if (host === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL')) return attempt('0.0.0.0');
      throw error;
    });
    return { host: address, port: actual };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const where = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
    const reasons: Readonly<Record<string, string>> = {
      EADDRINUSE: `another program listens there already; stop it, or choose another ${key}`,
      EACCES: `ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another ${key}, such as ${key === 'listen.port' ? 8443 : 8080}`,
      EADDRNOTAVAIL:
        'this machine has no such address; set listen.host to one that it has, or to "::" for all',
      ENOTFOUND: 'that host name does not resolve; set listen.host to an address, or to "::" for all',
    };
    throw new OperatorError(`Cannot listen on ${where}: ${reasons[code ?? ''] ?? message}.`);
  }
}
