import { write } from 'node:fs';
import { Writable } from 'node:stream';

/** Where log lines go: a stream that never fails and never blocks. */
export type LogOutput = {
  readonly stream: Writable;
  /** Resolves to whether all has been written within `timeoutMs` milliseconds. */
  flush(timeoutMs: number): Promise<boolean>;
};

const retryMs = 100;
/** How long a line waits for others to be written with it: a write costs more than a line, in milliseconds. */
const gatherMs = 10;

/**
 * Creates the output on a file descriptor. Written on a thread, since a pipe that nobody reads blocks the writer; what cannot
 * be written now (EAGAIN, a full disk, a reader that is gone) is tried again until it can: a log that fails must not stop the service.
 */
export function createLogOutput(fd: number): LogOutput {
  const writeAll = (bytes: Buffer, done: () => void): void => {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error) setTimeout(() => writeAll(bytes, done), retryMs).unref();
      else if (written < bytes.length) writeAll(bytes.subarray(written), done);
      else done();
    });
  };
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => setTimeout(() => writeAll(Buffer.from(line), done), gatherMs),
    writev: (lines: { chunk: string }[], done) =>
      writeAll(Buffer.from(lines.map(({ chunk }) => chunk).join('')), done),
  });
  return {
    stream,
    flush: (timeoutMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), timeoutMs);
        stream.write('', () => {
          clearTimeout(timer);
          resolve(true);
        });
      }),
  };
}
