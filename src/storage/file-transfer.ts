import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import type { ReadBuffers } from './read-buffers.ts';

/** The result: everything was written (`res` still has to be ended), or one side broke off and the connection was cut. */
type FileTransferEnd = 'relayed' | 'client-left' | 'storage-broke';

/** A transfer of a part of a file to a client. */
export type FileTransfer = {
  /** Never rejects. Once it has resolved, the file is no longer read. */
  readonly ended: Promise<FileTransferEnd>;
  /** Whether it waits for the client to read. */
  waitsForClient(): boolean;
  readonly bytesIn: 0;
  readonly bytesOut: number;
};

/** Where a part of a file begins and how long it is, in bytes. */
export type FilePart = { readonly start: number; readonly lengthBytes: number };

/** The buffer size for a slow client, in bytes. */
const smallBytes = 64 * 1024;
/** A client is fast if it takes what was written within this time, in milliseconds. */
const keepUpMs = 100;

/**
 * A client that has taken this much without a wait gets large buffers, in bytes: more than the kernel buffers for a
 * client that reads nothing.
 */
const provenBytes = 8 * 1024 * 1024;

/**
 * Sends a part of a file as the body of an answer whose head is written: writes one buffer while it reads the next. A
 * buffer is reused only after the socket's callback for it. A file that ends early cuts the connection.
 */
export function sendFilePart(
  res: ServerResponse,
  handle: FileHandle,
  { start, lengthBytes }: FilePart,
  buffers: ReadBuffers,
): FileTransfer {
  const end = start + lengthBytes;
  /** Alternates between two: one is read into while the other is written. */
  const small: Buffer[] = [];
  let turn = 0;
  let writing = false;
  const transfer = { waitsForClient: () => writing, bytesIn: 0 as const, bytesOut: 0 };
  /** How much the client has taken since the last wait, in bytes. */
  let keptUpBytes = buffers.hasPlenty() ? provenBytes : 0;

  /** Returns false when the client has left. */
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
      transfer.bytesOut += bytes.length;
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

  const ended = send()
    .catch((): FileTransferEnd => 'storage-broke')
    .then((how) => {
      if (how !== 'relayed') res.destroy();
      return how;
    });
  return Object.assign(transfer, { ended });
}
