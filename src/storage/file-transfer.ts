import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import type { ReadBuffers } from './read-buffers.ts';

/** How it ended: all was written (`res` is still to be ended), or one side broke off and the connection was cut. */
type FileTransferEnd = 'relayed' | 'client-left' | 'storage-broke';

/** A part of a file on its way to a client. */
export type FileTransfer = {
  /** Never rejects. When it has resolved, nothing of the file is being read any more. */
  readonly ended: Promise<FileTransferEnd>;
  /** Whether the next move is the client's: to read what is waiting for it. */
  waitsForClient(): boolean;
  readonly bytesIn: 0;
  readonly bytesOut: number;
};

/** Where a part of a file begins and how long it is, in bytes. */
export type FilePart = { readonly start: number; readonly lengthBytes: number };

/** For a client that does not keep up, in bytes. */
const smallBytes = 64 * 1024;
/** A client keeps up that has taken what was written within so many milliseconds. */
const keepUpMs = 100;

/**
 * A client that has taken so much without making us wait gets large buffers, in bytes: more than the kernel takes for one that reads
 * nothing.
 */
const provenBytes = 8 * 1024 * 1024;

/**
 * Writes a part of a file as the body of an answer whose head is written: while one buffer is on its way, the next is read. A buffer is
 * used again only when the socket has called back for it. A file that ends too early cuts the connection.
 */
export function sendFilePart(
  res: ServerResponse,
  handle: FileHandle,
  { start, lengthBytes }: FilePart,
  buffers: ReadBuffers,
): FileTransfer {
  const end = start + lengthBytes;
  /** Used in turn: one is being read into while the other is being written. */
  const small: Buffer[] = [];
  let turn = 0;
  let bytesOut = 0;
  let writing = false;
  /** How much the client has taken since it last made us wait, in bytes. */
  let keptUpBytes = buffers.hasPlenty() ? provenBytes : 0;

  /** Gives false when the client has left. */
  const write = (bytes: Buffer): Promise<boolean> =>
    new Promise((resolve) => {
      const startedAtMs = performance.now();
      const settle = (done: boolean) => {
        writing = false;
        const keepsUp = performance.now() - startedAtMs < keepUpMs;
        keptUpBytes = keepsUp ? keptUpBytes + bytes.length : 0;
        res.off('close', onClose);
        resolve(done);
      };
      const onClose = () => settle(false);
      writing = true;
      bytesOut += bytes.length;
      res.once('close', onClose);
      res.write(bytes, (error) => settle(!error));
    });

  const send = async (): Promise<FileTransferEnd> => {
    let written = Promise.resolve(true);
    for (let position = start; position < end;) {
      const large = keptUpBytes >= provenBytes && end - position > smallBytes ? buffers.takeLarge() : null;
      let writes: Promise<boolean> | undefined;
      try {
        turn = 1 - turn;
        const buffer = large ?? (small[turn] ??= Buffer.allocUnsafeSlow(smallBytes));
        const wanted = Math.min(buffer.length, end - position);
        const { bytesRead } = await handle.read(buffer, 0, wanted, position);
        if (!(await written)) return 'client-left';
        if (bytesRead === 0) return 'storage-broke';
        position += bytesRead;
        writes = written = write(buffer.subarray(0, bytesRead));
      } finally {
        if (large) void (writes ?? Promise.resolve(true)).then((done) => buffers.giveBack(large, done));
      }
    }
    return (await written) ? 'relayed' : 'client-left';
  };

  return {
    ended: send()
      .catch((): FileTransferEnd => 'storage-broke')
      .then((how) => {
        if (how !== 'relayed') res.destroy();
        return how;
      }),
    waitsForClient: () => writing,
    bytesIn: 0,
    get bytesOut() {
      return bytesOut;
    },
  };
}
