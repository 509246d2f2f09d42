import { close, fstatSync, write } from 'node:fs';

export type LineWriterOptions = {
  /** Whether other processes write there too. */
  readonly isShared: boolean;
  /** Called at the first failure of a series; the unwritten lines wait. A full pipe is not a failure. */
  readonly onFailure?: ((error: NodeJS.ErrnoException) => void) | undefined;
};

/** Writes whole lines to a file descriptor that can be replaced. */
export type LineWriter = {
  /**
   * Writes lines, with as many writes as needed, and calls back when they are written or dropped. Call it only after
   * the previous callback.
   */
  write(lines: Buffer, done: () => void): void;
  /** The most bytes in one write. */
  readonly maxWriteBytes: number;
  /** Whether a write is in progress. */
  readonly isWriting: boolean;
  /**
   * Switches to another descriptor, with a whole line. The old one closes when no write uses it, unless it is a
   * standard one.
   */
  exchange(fd: number): void;
  /** Drops unwritten and later lines. */
  drop(): void;
};

export const retryMs = 100;

/**
 * The largest write to a pipe that several processes share, in bytes: PIPE_BUF of Linux. Parts of a larger one could be
 * interleaved with another's (POSIX, write()). A write to a regular file is atomic on Linux.
 */
const maxSharedWriteBytes = 4096;

/** Standard input, output and error, which stay open. */
const standardFds: ReadonlySet<number> = new Set([0, 1, 2]);
const lineFeed = 10;

/** The current descriptor; a number alone could come to mean another file. */
type Target = { readonly fd: number; readonly maxWriteBytes: number };

/** The lines to write. */
type Rest = {
  /** Starts at the beginning of a line. */
  readonly bytes: Buffer;
  /** How many bytes have been written, of all and of the first line, and to which descriptor. */
  readonly begunBytes: number;
  readonly begunIn: Target | undefined;
};

/**
 * Creates the writer on a file descriptor. It writes on a thread, since a pipe that nobody reads blocks the writer.
 * Failed writes (EAGAIN, a full disk, no reader) are retried: a failing log must not stop the service.
 */
export function createLineWriter(fd: number, { isShared, onFailure }: LineWriterOptions): LineWriter {
  let target = toTarget(fd, isShared);
  let writing: Target | undefined;
  /** The state after a failed or short write. */
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
    // If another process, or this one, may have an unfinished line there, no other line may follow it directly.
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
