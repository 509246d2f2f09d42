import type { Socket } from 'node:net';

/** What a parser makes of the first bytes; `lengthBytes`: how many of them nobody else reads. */
export type Parsed<T> = { readonly value: T; readonly lengthBytes: number };

/**
 * Reads a connection's first bytes until a parser knows, and leaves the rest for the next reader. Calls back once, with null
 * when they were not valid, not complete in time, or the connection ended; then the caller must destroy the socket.
 */
export function readFirstBytes<T>(
  socket: Socket,
  timeoutMs: number,
  parse: (received: Buffer) => Parsed<T> | 'incomplete' | 'invalid',
  done: (value: T | null) => void,
): void {
  let received = Buffer.alloc(0);
  const finish = (value: T | null) => {
    clearTimeout(timer);
    socket.off('readable', read).off('end', fail).off('error', fail).off('close', fail);
    done(value);
  };
  const fail = () => finish(null);
  const read = () => {
    for (;;) {
      const piece = socket.read() as Buffer | null;
      if (piece === null) return;
      received = Buffer.concat([received, piece]);
      const parsed = parse(received);
      if (parsed === 'incomplete') continue;
      if (parsed === 'invalid') {
        fail();
        return;
      }
      if (parsed.lengthBytes < received.length) socket.unshift(received.subarray(parsed.lengthBytes));
      finish(parsed.value);
      return;
    }
  };
  const timer = setTimeout(fail, timeoutMs);
  socket.on('readable', read).once('end', fail).once('error', fail).once('close', fail);
}
