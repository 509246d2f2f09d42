import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { pino, type DestinationStream, type Logger } from 'pino';
import { elasticCommonSchema } from './elastic-common-schema.ts';
import { openLineSink, type LineSink } from './line-sink.ts';
import { kindOfLine, type LogKind } from './log-kind.ts';

export type LogFormat = 'json' | 'pretty' | 'ecs';

export type LoggerOptions = {
  readonly level: string;
  /** The format; files get JSON lines instead of `pretty` ones. */
  readonly format: LogFormat;
  /** For each request's line; null: standard output. */
  readonly accessFile: string | null;
  /** For all other lines; null: standard output. */
  readonly errorFile: string | null;
  /** For pushes and deletes; null: where access lines go. */
  readonly auditFile: string | null;
  /** Whether other processes write to the same files. */
  readonly isShared: boolean;
  /** Whether a file that cannot be opened is an error; otherwise standard output replaces it. */
  readonly isRequired: boolean;
};

/** The logger, and the exit of its process, which writes the last lines first, within a time limit. */
export type LogSink = {
  readonly logger: Logger;
  readonly exit: (code: number) => Promise<never>;
  /**
   * Writes another process's JSON lines to standard output, in the configured format; resolves when that process has
   * closed its end.
   */
  readonly passOn: (lines: Readable) => Promise<void>;
};

/** How long the exit of the process waits for its last lines, in milliseconds. */
const lastLinesMs = 2000;

/**
 * Creates the program's logger on standard output or files: JSON lines, text for people, or the Elastic Common Schema.
 * From then on SIGUSR1 reopens its files, and does not start Node's debugger.
 * @throws OperatorError when a required file cannot be opened.
 */
export async function createLogger(options: LoggerOptions): Promise<LogSink> {
  const { level, format, accessFile, errorFile, auditFile, isShared, isRequired } = options;
  const pretty = format === 'pretty' ? (await import('pino-pretty')).default : null;
  const sinks = new Map<string | null, LineSink>();
  const open = (file: string | null): LineSink => {
    const sink =
      sinks.get(file) ??
      openLineSink({
        file,
        isRequired,
        isShared,
        decorate: (destination) =>
          pretty?.({
            destination,
            colorize: process.stdout.isTTY,
            ignore: 'pid,hostname',
            singleLine: true,
          }) ?? destination,
        // A sink may log while the logger is being created.
        report: (fields, sentence) => void setImmediate().then(() => logger.warn(fields, sentence)),
      });
    sinks.set(file, sink);
    return sink;
  };
  const byKind: Readonly<Record<LogKind, LineSink>> = {
    access: open(accessFile),
    audit: open(auditFile ?? accessFile),
    error: open(errorFile),
  };
  const logger = pino(
    { level, ...(format === 'ecs' ? elasticCommonSchema : { timestamp: createIsoTime() }) },
    sinks.size === 1 ? byKind.error : createParting(byKind),
  );
  process.on('SIGUSR1', () => void reopenFiles(sinks, logger));
  const exit = async (code: number): Promise<never> => {
    await setImmediate(); // text for people passes through another stream first
    const outputs = [...sinks.values()].map(({ output }) => output);
    const ended = await Promise.all(outputs.map((output) => output.end(lastLinesMs)));
    // process.exit() would wait for a hanging write for ever.
    if (ended.includes(false)) process.kill(process.pid, 'SIGKILL');
    return process.exit(code);
  };
  return { logger, exit, passOn: (lines) => open(null).passOn(lines) };
}

/** Sends each line to the sink of its kind. pino passes a line's message along to a stream that asks for it. */
function createParting(byKind: Readonly<Record<LogKind, LineSink>>): DestinationStream {
  const parting = {
    [Symbol.for('pino.metadata')]: true,
    lastMsg: undefined as unknown,
    write: (line: string) => byKind[kindOfLine(parting.lastMsg)].write(line),
  };
  return parting;
}

async function reopenFiles(sinks: ReadonlyMap<string | null, LineSink>, logger: Logger): Promise<void> {
  const files: string[] = [];
  for (const [file, { output }] of sinks) {
    if (file === null) continue;
    try {
      await output.reopen(file);
      files.push(file);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code;
      logger.error({ file, reason }, 'a log file cannot be opened again: the one that was open is kept');
    }
  }
  if (files.length > 0) logger.info({ files }, 'log files opened again');
}

/**
 * Chooses the format of lines: text for people on a terminal, unless the operator chose one. `settings` has what was
 * chosen.
 */
export function chooseLogFormat(
  { format }: { readonly format: LogFormat },
  settings: { has(key: string): boolean },
): LogFormat {
  return process.stdout.isTTY && !settings.has('log.format') ? 'pretty' : format;
}

/** The time of a line in ISO 8601, formatted once per millisecond. */
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
