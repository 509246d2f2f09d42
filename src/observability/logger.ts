import type { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { pino, type DestinationStream, type Logger } from 'pino';
import { elasticCommonSchema } from './elastic-common-schema.ts';
import { createLogOutput, maxSharedWriteBytes } from './log-output.ts';
import { shortenLine } from './long-line.ts';

export type LogFormat = 'json' | 'pretty' | 'ecs';

export type LoggerOptions = {
  readonly level: string;
  readonly format: LogFormat;
  /** Whether other processes write to the same output: then a line's length is limited, so that none is torn. */
  readonly isShared: boolean;
};

/** The logger, and the end of a process that has logged: its last lines are written first, if they can be soon. */
export type LogSink = { readonly logger: Logger; readonly exit: (code: number) => Promise<never> };

/** How much may wait to be written, when the reader of the log does not read or the disk is full. */
const maxWaitingBytes = 8 * 1024 * 1024;
/** How long the end of the process waits for its last lines, in milliseconds. */
const lastLinesMs = 2000;

/**
 * Builds the program's logger on standard output: JSON lines, lines for people, or the Elastic Common Schema. Lines that cannot be
 * written are kept up to a limit, then dropped, and counted in a line once there is room again.
 */
export async function createLogger({ level, format, isShared }: LoggerOptions): Promise<LogSink> {
  const output = createLogOutput(1, isShared);
  const stream: Writable =
    format === 'pretty'
      ? (await import('pino-pretty')).default({
          destination: output.stream,
          colorize: process.stdout.isTTY,
          ignore: 'pid,hostname',
          singleLine: true,
        })
      : output.stream;
  let dropped = 0;
  const bounded: DestinationStream = {
    write: (line) => {
      if (stream.writableLength > maxWaitingBytes) {
        dropped += 1;
        return;
      }
      stream.write(isShared ? shortenLine(line, maxSharedWriteBytes) : line);
      if (dropped === 0) return;
      const count = dropped;
      dropped = 0;
      logger.warn({ dropped: count }, 'log lines were dropped: they could not be written fast enough');
    },
  };
  const logger = pino(
    { level, ...(format === 'ecs' ? elasticCommonSchema : { timestamp: createIsoTime() }) },
    bounded,
  );
  const exit = async (code: number): Promise<never> => {
    await setImmediate(); // lines for people pass through another stream first
    // process.exit() would wait for a write that hangs, and that for ever.
    if (!(await output.flush(lastLinesMs))) process.kill(process.pid, 'SIGKILL');
    return process.exit(code);
  };
  return { logger, exit };
}

/** The time of a line in ISO 8601, made once for all lines of a millisecond. */
function createIsoTime(): () => string {
  let atMs = -1;
  let field = '';
  return () => {
    const nowMs = Date.now();
    if (nowMs !== atMs) {
      atMs = nowMs;
      field = `,"time":"${new Date(nowMs).toISOString()}"`;
    }
    return field;
  };
}
