import { constants, open, openSync } from 'node:fs';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createLineWriter, retryMs, type LineWriterOptions } from './line-writer.ts';

/** A stream for log lines that never fails and never blocks. */
export type LogOutput = {
  readonly stream: Writable;
  /**
   * Writes the waiting lines within `timeoutMs` milliseconds, and drops the rest and later ones. Resolves to whether no
   * write hangs.
   */
  end(timeoutMs: number): Promise<boolean>;
  /** The longest line that is written unabridged: no limit, unless other processes write to the same pipe. */
  readonly maxLineBytes: number;
  /**
   * Switches to the file that now has this path, with a whole line. Rejects, and continues as before, when it cannot be
   * opened.
   */
  reopen(path: string): Promise<void>;
};

const openFile = promisify(open);

/** How long a line waits for others to share a write, in milliseconds: a write costs more than a line. */
const gatherMs = 10;

/** Non-blocking: a FIFO that nobody reads is an error then, and not a start that hangs. */
const openFlags =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOCTTY;
const fileMode = 0o640;

/**
 * Opens a file for appending log lines; creates it if missing, with mode 0640 less the umask. @throws the system's
 * error.
 */
export function openLogFile(path: string): number {
  return openSync(path, openFlags, fileMode);
}

/** Creates an output of whole lines on a file descriptor. */
export function createLogOutput(fd: number, options: LineWriterOptions): LogOutput {
  const writer = createLineWriter(fd, options);
  let reopened: Promise<unknown> = Promise.resolve();
  let isEnding = false;

  const writeOneByOne = (parts: readonly Buffer[], done: () => void): void => {
    const [first, ...others] = parts;
    if (first) writer.write(first, () => writeOneByOne(others, done));
    else done();
  };
  const writeLines = (lines: readonly string[], done: () => void): void => {
    const finish = () => {
      // Called before later lines are written: the process might not live to finish one.
      if (isEnding && lines.includes('')) writer.drop();
      done();
    };
    const { maxWriteBytes } = writer;
    if (maxWriteBytes < Infinity) writeOneByOne(joinUpTo(maxWriteBytes, lines), finish);
    else writer.write(Buffer.from(lines.join('')), finish);
  };
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => setTimeout(() => writeLines([line], done), gatherMs),
    writev: (chunks: { chunk: string }[], done) =>
      writeLines(
        chunks.map(({ chunk }) => chunk),
        done,
      ),
  });

  const goOnIn = async (path: string): Promise<void> => {
    writer.exchange(await openFile(path, openFlags, fileMode));
  };
  return {
    stream,
    get maxLineBytes() {
      return writer.maxWriteBytes;
    },
    end: async (timeoutMs) => {
      isEnding = true;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        stream.write('', () => {
          clearTimeout(timer);
          resolve();
        });
      });
      writer.drop();
      // A write that is retried on a full disk does not hang.
      if (writer.isWriting) await delay(retryMs);
      return !writer.isWriting;
    },
    reopen: (path) => {
      // One at a time, so that the file of the last call stays.
      const result = reopened.then(() => goOnIn(path));
      reopened = result.catch(() => {});
      return result;
    },
  };
}

/** Joins adjacent lines while they stay within `maxBytes` together. */
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
