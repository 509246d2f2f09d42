import type { Socket } from 'node:net';

const maxBytes = 65_536;
const timeoutMs = 10_000;

/**
 * Reads the first line of a connection and puts every byte back, so that whoever gets the connection next reads it from its
 * beginning. Null: it ended, was too long or too slow.
 */
export function peekFirstLine(socket: Socket): Promise<string | null> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const settle = (line: string | null) => {
      clearTimeout(timer);
      socket.off('readable', onReadable).off('end', onEnd).off('close', onEnd);
      if (line !== null) socket.unshift(Buffer.concat(pieces));
      resolve(line);
    };
    const onReadable = () => {
      const piece = socket.read() as Buffer | null;
      if (piece === null) return;
      pieces.push(piece);
      const bytes = Buffer.concat(pieces);
      const end = bytes.indexOf('\n');
      if (end !== -1) settle(bytes.toString('utf8', 0, end));
      else if (bytes.length > maxBytes) settle(null);
    };
    const onEnd = () => settle(null);
    const timer = setTimeout(onEnd, timeoutMs).unref();
    socket.on('readable', onReadable).on('end', onEnd).on('close', onEnd);
  });
}
