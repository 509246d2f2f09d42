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
 * What one write may hold where several processes write, in bytes: PIPE_BUF of Linux. Of a larger one, parts could stand
 * between the parts of another's (POSIX, write()).
 */
export const maxSharedWriteBytes = 4096;

/**
 * Creates the output on a file descriptor, of whole lines; `isShared`: other processes write there too. Written on a thread, since a pipe that nobody reads blocks the writer; what cannot
 * be written now (EAGAIN, a full disk, a reader that is gone) is tried again until it can: a log that fails must not stop the service.
 */
export function createLogOutput(fd: number, isShared: boolean): LogOutput {
  const writeAll = (bytes: Buffer, done: () => void): void => {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error) setTimeout(() => writeAll(bytes, done), retryMs).unref();
      else if (written < bytes.length) writeAll(bytes.subarray(written), done);
      else done();
    });
  };
  const writeOneByOne = (parts: readonly Buffer[], done: () => void): void => {
    const [first, ...others] = parts;
    if (first) writeAll(first, () => writeOneByOne(others, done));
    else done();
  };
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => setTimeout(() => writeAll(Buffer.from(line), done), gatherMs),
    writev: (chunks: { chunk: string }[], done) => {
      const lines = chunks.map(({ chunk }) => chunk);
      if (isShared) writeOneByOne(joinUpTo(maxSharedWriteBytes, lines), done);
      else writeAll(Buffer.from(lines.join('')), done);
    },
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

/** Joins neighbours as long as they are within `maxBytes` together. */
function joinUpTo(maxBytes: number, lines: readonly string[]): Buffer[] {
  const groups: string[][] = [];
  let room = 0;
  for (const line of lines) {
    const bytes = Buffer.byteLength(line);
    if (bytes > room) {
      groups.push([]);
      room = maxBytes;
    }
    groups.at(-1)?.push(line);
    room -= bytes;
  }
  return groups.map((group) => Buffer.from(group.join('')));
}
