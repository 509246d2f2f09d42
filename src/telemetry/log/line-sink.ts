import type { Readable, Writable } from 'node:stream';
import { OperatorError } from '../../system/operator-error.ts';
import { createLogOutput, openLogFile, type LogOutput } from './log-output.ts';
import { shortenLine } from './long-line.ts';

/** The destination of lines of one or more kinds. */
export type LineSink = {
  readonly output: LogOutput;
  /** Queues a line, or drops it when too much waits. */
  write(line: string): void;
  /** Writes the lines of another process, with back-pressure; resolves when that process has closed its end. */
  passOn(source: Readable): Promise<void>;
};

export type LineSinkOptions = {
  /** Null: standard output. */
  readonly file: string | null;
  /** Whether a file that cannot be opened is an error; otherwise its lines go to standard output until it can. */
  readonly isRequired: boolean;
  /** Whether other processes write to the same file. */
  readonly isShared: boolean;
  /** The formatter for people, if any. */
  readonly decorate: (output: Writable) => Writable;
  /** Called with messages for the operator, a sentence and its fields. */
  readonly report: (fields: object, sentence: string) => void;
};

/** How many bytes may wait when nobody reads the log or the disk is full. */
const maxWaitingBytes = 8 * 1024 * 1024;
const standardOutput = 1;

/**
 * Opens a destination. Lines that cannot be written are kept up to a limit, then dropped, and counted once there is
 * room again.
 * @throws OperatorError when a required file cannot be opened.
 */
export function openLineSink({ file, isRequired, isShared, decorate, report }: LineSinkOptions): LineSink {
  const name = file === null ? {} : { file };
  let fd = standardOutput;
  try {
    if (file !== null) fd = openLogFile(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (isRequired)
      throw new OperatorError(`Cannot open the log file ${file ?? ''}: ${reasons[code ?? ''] ?? message}.`);
    report({ ...name, reason: code }, 'a log file cannot be opened: its lines go to standard output');
  }
  const onFailure = (error: NodeJS.ErrnoException) =>
    report({ ...name, reason: error.code }, 'a log file cannot be written: its lines wait');
  const output = createLogOutput(fd, {
    isShared: isShared && file !== null,
    ...(file === null ? {} : { onFailure }),
  });
  const stream = file === null ? decorate(output.stream) : output.stream;
  stream.setMaxListeners(0); // every process that sends its lines here waits for 'drain'
  let dropped = 0;
  return {
    output,
    write: (line) => {
      if (stream.writableLength > maxWaitingBytes) {
        dropped += 1;
        return;
      }
      stream.write(output.maxLineBytes === Infinity ? line : shortenLine(line, output.maxLineBytes));
      if (dropped === 0) return;
      const count = dropped;
      dropped = 0;
      report({ ...name, dropped: count }, 'log lines were dropped: they could not be written fast enough');
    },
    passOn: (source) => {
      let begun = '';
      source.setEncoding('utf8');
      source.on('data', (chunk: string) => {
        const text = begun + chunk;
        const end = text.lastIndexOf('\n') + 1;
        begun = text.slice(end);
        if (end === 0 || stream.write(text.slice(0, end))) return;
        source.pause();
        stream.once('drain', () => source.resume());
      });
      source.on('error', () => {}); // 'close' follows
      return new Promise((resolve) => source.once('close', resolve));
    },
  };
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist; make it, or change the path',
  EACCES: 'this user may not write to it, or not make it in its folder; change the owner or the path',
  EPERM: 'this user may not write to it, or not make it in its folder; change the owner or the path',
  EROFS: 'it is on a file system that is read-only here; change the path, or allow writing to that folder',
  EISDIR: 'it is a folder; name a file in it',
  ENXIO: 'it is a FIFO that nobody reads, or a socket; start the reader first, or name a file',
};
