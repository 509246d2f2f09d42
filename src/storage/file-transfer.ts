import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';

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

export type FilePart = { readonly start: number; readonly lengthBytes: number };

const bufferBytes = Number(process.env['BUF'] ?? 512) * 1024;

/** Writes a part of a file as the body of an answer whose head is written: while one buffer is on its way, the next is read. */
export function sendFilePart(res: ServerResponse, handle: FileHandle, part: FilePart): FileTransfer {
  let bytesOut = 0;
  let writing = false;

  const write = (bytes: Buffer): Promise<boolean> => {
    writing = true;
    bytesOut += bytes.length;
    return new Promise((resolve) => {
      const settle = (done: boolean) => {
        writing = false;
        res.off('close', onClose);
        resolve(done);
      };
      const onClose = () => settle(false);
      res.once('close', onClose);
      res.write(bytes, (error) => settle(!error));
    });
  };

  const send = async (): Promise<FileTransferEnd> => {
    const end = part.start + part.lengthBytes;
    let position = part.start;
    const buffers = [Buffer.allocUnsafeSlow(bufferBytes), Buffer.allocUnsafeSlow(bufferBytes)] as const;
    let turn = 0;
    let written: Promise<boolean> = Promise.resolve(true);
    while (position < end) {
      const buffer = buffers[turn as 0 | 1];
      turn = 1 - turn;
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - position), position);
      if (!(await written)) return 'client-left';
      if (bytesRead === 0) return 'storage-broke';
      position += bytesRead;
      written = write(buffer.subarray(0, bytesRead));
    }
    return (await written) ? 'relayed' : 'client-left';
  };

  return {
    ended: send()
      .catch((): FileTransferEnd => 'storage-broke')
      .then((end) => {
        if (end !== 'relayed') res.destroy();
        return end;
      }),
    waitsForClient: () => writing,
    bytesIn: 0,
    get bytesOut() {
      return bytesOut;
    },
  };
}
