import { close, constants, fstatSync, open, openSync, write } from 'node:fs';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Where log lines go: a stream that never fails and never blocks. */
export type LogOutput = {
  readonly stream: Writable;
  /** Writes what there is within `timeoutMs` milliseconds, and drops what is left or comes later. Resolves to whether no write hangs. */
  end(timeoutMs: number): Promise<boolean>;
  /** The longest line that is written whole: all are, unless other processes write to the same pipe. */
  readonly maxLineBytes: number;
  /** Goes on in the file that has this path now, with a whole line. Rejects, and goes on as before, when it cannot be opened. */
  reopen(path: string): Promise<void>;
};

export type LogOutputOptions = {
  /** Whether other processes write there too. */
  readonly isShared: boolean;
  /** Told of the first failure of a series, and what cannot be written yet waits; a pipe that is full is none. */
  readonly onFailure?: (error: NodeJS.ErrnoException) => void;
};

const openFile = promisify(open);

const retryMs = 100;
/** How long a line waits for others to be written with it: a write costs more than a line, in milliseconds. */
const gatherMs = 10;

/**
 * What one write to a pipe may hold where several processes write, in bytes: PIPE_BUF of Linux. Of a larger one, parts could stand
 * between the parts of another's (POSIX, write()). To a regular file each write of Linux is whole.
 */
const maxSharedWriteBytes = 4096;

/** Standard input, output and error: not to be closed. */
const standardFds: ReadonlySet<number> = new Set([0, 1, 2]);
const lineFeed = 10;
/** Not waiting: a FIFO that nobody reads is an error then, and not a start that hangs. */
const openFlags =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOCTTY;
const fileMode = 0o640;

/** Opens a file for log lines at its end; makes it where it is missing, with mode 0640 less the umask. @throws the system's error. */
export function openLogFile(path: string): number {
  return openSync(path, openFlags, fileMode);
}

/** What is written to; a number alone may come to mean another file. */
type Target = { readonly fd: number; readonly maxWriteBytes: number };

/** Lines that are to be written. */
type Rest = {
  /** From a line's beginning. */
  readonly bytes: Buffer;
  /** How many of them have been written, all of the first line, and where. */
  readonly begunBytes: number;
  readonly begunIn: Target | undefined;
};

/**
 * Creates the output on a file descriptor, of whole lines. Written on a thread, since a pipe that nobody reads blocks the writer; what cannot
 * be written now (EAGAIN, a full disk, a reader that is gone) is tried again until it can: a log that fails must not stop the service.
 */
export function createLogOutput(fd: number, { isShared, onFailure }: LogOutputOptions): LogOutput {
  let target = toTarget(fd, isShared);
  let writing: Target | undefined;
  /** Where the last write came to nothing, or not to its end. */
  let failedIn: Target | undefined;
  let isReported = false;
  let reopened: Promise<unknown> = Promise.resolve();

  const closeUnused = (old: Target): void => {
    if (old !== target && old !== writing && !standardFds.has(old.fd)) close(old.fd, () => {});
  };

  let isEnding = false;
  let hasEnded = false;
  const writeAll = ({ bytes, begunBytes, begunIn }: Rest, done: () => void): void => {
    if (hasEnded) {
      done();
      return;
    }
    const to = target;
    const goesOn = begunIn === to && !isShared;
    // Where a line may have been begun that another process has yet to end, or this one, none may be put behind it.
    const breaks = failedIn === to && isShared;
    const left = goesOn ? bytes.subarray(begunBytes) : bytes;
    const sent = breaks ? Buffer.concat([Buffer.of(lineFeed), left]) : left;
    writing = to;
    write(to.fd, sent, 0, sent.length, null, (error, writtenBytes) => {
      writing = undefined;
      closeUnused(to);
      if (error) {
        if (error.code !== 'EAGAIN') {
          failedIn = to;
          if (!isReported) onFailure?.(error);
          isReported = true;
        }
        setTimeout(() => writeAll({ bytes, begunBytes, begunIn }, done), retryMs).unref();
        return;
      }
      if (writtenBytes === sent.length) {
        failedIn = undefined;
        isReported = false;
        done();
        return;
      }
      failedIn = to;
      const at = Math.max(0, writtenBytes - sent.length + bytes.length);
      const lineStart = at === 0 ? 0 : bytes.lastIndexOf(lineFeed, at - 1) + 1;
      writeAll({ bytes: bytes.subarray(lineStart), begunBytes: at - lineStart, begunIn: to }, done);
    });
  };
  const writeOneByOne = (parts: readonly Buffer[], done: () => void): void => {
    const [first, ...others] = parts;
    if (first) writeAll(wholly(first), () => writeOneByOne(others, done));
    else done();
  };
  const writeLines = (lines: readonly string[], done: () => void): void => {
    const finish = () => {
      // Before the lines that have come meanwhile: none is begun that the process would not live to end.
      if (isEnding && lines.includes('')) hasEnded = true;
      done();
    };
    const { maxWriteBytes } = target;
    if (maxWriteBytes < Infinity) writeOneByOne(joinUpTo(maxWriteBytes, lines), finish);
    else writeAll(wholly(Buffer.from(lines.join(''))), finish);
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

  const exchange = async (path: string): Promise<void> => {
    const opened = toTarget(await openFile(path, openFlags, fileMode), isShared);
    const old = target;
    target = opened;
    closeUnused(old);
  };
  return {
    stream,
    get maxLineBytes() {
      return target.maxWriteBytes;
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
      hasEnded = true;
      // One that is tried again and again on a full disk is no write that hangs.
      if (writing !== undefined) await delay(retryMs);
      return writing === undefined;
    },
    reopen: (path) => {
      // One after the other: the file of the last call is the one to stay.
      const result = reopened.then(() => exchange(path));
      reopened = result.catch(() => {});
      return result;
    },
  };
}

function toTarget(fd: number, isShared: boolean): Target {
  return { fd, maxWriteBytes: isShared && !fstatSync(fd).isFile() ? maxSharedWriteBytes : Infinity };
}

const wholly = (bytes: Buffer): Rest => ({ bytes, begunBytes: 0, begunIn: undefined });

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
