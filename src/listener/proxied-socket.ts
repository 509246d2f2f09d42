import type { Socket } from 'node:net';
import { parseProxyHeader, type ProxyHeader } from './proxy-header.ts';

/**
 * Reads a connection's PROXY header, and leaves the bytes after it for the next reader. Calls back once, with null when
 * the header was not valid, not complete in time, or the connection ended; then the caller must destroy the socket.
 */
export function readProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (header: ProxyHeader | null) => void,
): void {
  let received = Buffer.alloc(0);
  const finish = (header: ProxyHeader | null) => {
    clearTimeout(timer);
    socket.off('readable', read).off('end', fail).off('error', fail).off('close', fail);
    done(header);
  };
  const fail = () => finish(null);
  const read = () => {
    for (;;) {
      const piece = socket.read() as Buffer | null;
      if (piece === null) return;
      received = Buffer.concat([received, piece]);
      const header = parseProxyHeader(received);
      if (header === 'incomplete') continue;
      if (header === 'invalid') {
        fail();
        return;
      }
      if (header.lengthBytes < received.length) socket.unshift(received.subarray(header.lengthBytes));
      finish(header);
      return;
    }
  };
  const timer = setTimeout(fail, timeoutMs);
  socket.on('readable', read).once('end', fail).once('error', fail).once('close', fail);
}
