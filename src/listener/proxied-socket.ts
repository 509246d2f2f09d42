import type { Socket } from 'node:net';
import { readFirstBytes } from './first-bytes.ts';
import { parseProxyHeader, type ProxyHeader } from './proxy-header.ts';

/** Reads a connection's PROXY header, as {@link readFirstBytes}. */
export function readProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (header: ProxyHeader | null) => void,
): void {
  const parse = (received: Buffer) => {
    const header = parseProxyHeader(received);
    return typeof header === 'string' ? header : { value: header, lengthBytes: header.lengthBytes };
  };
  readFirstBytes(socket, timeoutMs, parse, done);
}
