import { destination, pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import pretty from 'pino-pretty';
import { elasticCommonSchema } from './elastic-common-schema.ts';

export type LogFormat = 'json' | 'pretty' | 'ecs';

export type LoggerOptions = {
  readonly level: string;
  readonly format: LogFormat;
};

/** Where log lines go, and how to make sure that they have got there before the process ends. */
export type LogSink = { readonly logger: Logger; readonly flush: () => void };

/** Builds the program's logger on standard output: JSON lines, lines for people, or the Elastic Common Schema. */
export function createLogger({ level, format }: LoggerOptions): LogSink {
  const output = destination({ fd: 1, sync: false });
  const stream: DestinationStream =
    format === 'pretty'
      ? pretty({ destination: output, colorize: process.stdout.isTTY, ignore: 'pid,hostname' })
      : output;
  const logger = pino(
    { level, ...(format === 'ecs' ? elasticCommonSchema : { timestamp: stdTimeFunctions.isoTime }) },
    stream,
  );
  return { logger, flush: () => output.flushSync() };
}
