import { close, fstatSync, write } from 'node:fs';

export type LineWriterOptions = {
  /** Whether other processes write there too. */
  readonly isShared: boolean;
  /** Told of the first failure of a series, and what cannot be written yet waits; a pipe that is full is none. */
  readonly onFailure?: ((error: NodeJS.ErrnoException) => void) | undefined;
};

/** Writes whole lines to a file descriptor that can be exchanged. */
export type LineWriter = {
  /** Writes lines, however often it takes, and calls back when they are written or dropped. To be called when that of the last has been. */
  write(lines: Buffer, done: () => void): void;
  /** The most that one write should hold, in bytes. */
  readonly maxWriteBytes: number;
  /** Whether the system has been given a write that is not over. */
  readonly isWriting: boolean;
  /** Goes on there, with a whole line; the descriptor before is closed when no write to it is under way, unless it is a standard one. */
  exchange(fd: number): void;
  /** Drops what is not written, and what comes later. */
  drop(): void;
};

export const retryMs = 100;

/**
 * What one write to a pipe may hold where several processes write, in bytes: PIPE_BUF of Linux. Of a larger one, parts could stand
 * between the parts of another's (POSIX, write()). To a regular file each write of Linux is whole.
 */
const maxSharedWriteBytes = 4096;

/** Standard input, output and error: not to be closed. */
const standardFds: ReadonlySet<number> = new Set([0, 1, 2]);
const lineFeed = 10;

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
 * Creates the writer on a file descriptor. It writes on a thread, since a pipe that nobody reads blocks the writer; what cannot
 * be written now (EAGAIN, a full disk, a reader that is gone) is tried again until it can: a log that fails must not stop the service.
 */
export function createLineWriter(fd: number, { isShared, onFailure }: LineWriterOptions): LineWriter {
  let target = toTarget(fd, isShared);
  let writing: Target | undefined;
  /** Where the last write came to nothing, or not to its end. */
  let failedIn: Target | undefined;
  let isReported = false;
  let isDropping = false;

  const closeUnused = (old: Target): void => {
    if (old !== target && old !== writing && !standardFds.has(old.fd)) close(old.fd, () => {});
  };

  const writeRest = ({ bytes, begunBytes, begunIn }: Rest, done: () => void): void => {
    if (isDropping) {
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
        setTimeout(() => writeRest({ bytes, begunBytes, begunIn }, done), retryMs).unref();
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
      writeRest({ bytes: bytes.subarray(lineStart), begunBytes: at - lineStart, begunIn: to }, done);
    });
  };

  return {
    write: (lines, done) => writeRest({ bytes: lines, begunBytes: 0, begunIn: undefined }, done),
    get maxWriteBytes() {
      return target.maxWriteBytes;
    },
    get isWriting() {
      return writing !== undefined;
    },
    exchange: (next) => {
      const opened = toTarget(next, isShared);
      const old = target;
      target = opened;
      closeUnused(old);
    },
    drop: () => {
      isDropping = true;
    },
  };
}

function toTarget(fd: number, isShared: boolean): Target {
  return { fd, maxWriteBytes: isShared && !fstatSync(fd).isFile() ? maxSharedWriteBytes : Infinity };
}
