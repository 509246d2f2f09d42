import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { OperatorError } from '../../system/operator-error.ts';
import { DoorsError } from '../channel/doors.ts';
import { PutOffError, type GraceWait } from '../channel/grace-wait.ts';
import { takeCleanSocket } from './clean-socket.ts';
import { openCommandConnection, type CommandConnection } from './command-connection.ts';
import { peekFirstLine } from './first-line.ts';
import { createJobs, type Job, type JobContext } from './jobs.ts';
import { parseFirstLine, type CleanCommand, type CommandEnd } from './messages.ts';
import { openSchedule, type DueRun } from './schedule.ts';
import type { ScheduleRecord } from './schedule-record.ts';

/** What the cleaner can do. Each gives what its command prints. @throws OperatorError when it cannot */
export type CleanWork = {
  plan(
    options: { readonly json: boolean; readonly all: boolean; readonly columns: number },
    context: JobContext,
  ): Promise<CommandEnd & { readonly pieces: Iterable<string> }>;
  run(context: JobContext): Promise<string>;
  /** Why a run would take nothing now, if time alone mends it. */
  findWait(): Promise<GraceWait | null>;
  /** Whether a run makes clients wait, so that it begins only when the schedule says. */
  readonly pausesWrites: boolean;
  undo(run: string | null, context: JobContext): Promise<string>;
  purge(context: JobContext): Promise<string>;
  /** Deletes what was in quarantine for long enough. */
  purgeExpired(): Promise<void>;
  removeTag(
    target: { readonly repository: string; readonly tag: string },
    context: JobContext,
  ): Promise<string>;
  status(options: { readonly json: boolean }, about: CleanerState): Promise<string>;
  /** Called when a job has ended. */
  ended(job: EndedJob): Promise<void>;
};

export type EndedJob = Pick<Job, 'name' | 'by' | 'since'> & {
  readonly until: number;
  /** Why it failed; null: it did not. */
  readonly error: string | null;
  /** Whether it was only too early for a command: that is no failure. */
  readonly isPutOff: boolean;
};

/** What the cleaner itself says in its status. */
export type CleanerState = {
  readonly job: Job | null;
  readonly nextRun: Date | null;
  readonly dueRun: DueRun | null;
};

export type CleanerSettings = { readonly schedule: string | null; readonly work: CleanWork };

export type CleanerOptions = CleanerSettings & {
  readonly socket: string;
  readonly record: ScheduleRecord;
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Takes a connection whose first line, still to be read, is the hello of a front door. */
  readonly acceptDoor: (socket: Socket) => void;
};

export type Cleaner = {
  readonly nextRun: Date | null;
  /** What runs keeps its settings. */
  reload(settings: CleanerSettings): void;
  /** A job that runs stops at its next safe point. */
  close(): Promise<void>;
};

const purgeEveryMs = 3_600_000;

/**
 * Opens the cleaner: it listens on its socket, does one job at a time, and runs by its schedule.
 *
 * @throws OperatorError when the socket cannot be opened, or another cleaner has it
 */
export async function openCleaner(options: CleanerOptions): Promise<Cleaner> {
  const { logger, acceptDoor } = options;
  const jobs = createJobs();
  const sockets = new Set<Socket>();
  const answers = new Set<Promise<void>>();
  let { work } = options;

  const doJob = async <Result>(
    job: { name: Job['name']; by: Job['by']; signal?: AbortSignal },
    act: (context: JobContext) => Promise<Result>,
    onProgress?: JobContext['onProgress'],
  ): Promise<Result> => {
    const { name, by } = job;
    let since = 0;
    const tell = async (failure: Error | null) => {
      if (since === 0) return; // it was refused, since another runs
      const until = Date.now();
      const isPutOff = by === 'command' && failure instanceof PutOffError;
      const error = failure?.message ?? null;
      if (error === null) logger.info({ job: name, by, ms: until - since }, 'job done');
      else if (isPutOff) logger.info({ job: name, by, reason: error }, 'job put off');
      else logger.error({ job: name, by, ms: until - since, reason: error }, 'job failed');
      await work.ended({ name, by, since, until, error, isPutOff }).catch((reason: unknown) => {
        logger.error({ err: reason }, 'the end of a job could not be noted');
      });
    };
    try {
      const result = await jobs.start(
        job,
        (context) => {
          since = Date.now();
          return act(context);
        },
        onProgress,
      );
      await tell(null);
      return result;
    } catch (error) {
      await tell(error as Error);
      throw error;
    } finally {
      schedule.look();
    }
  };

  const schedule = openSchedule(options.schedule, {
    ...{ record: options.record, logger },
    isBusy: () => jobs.current !== null,
    findWait: () => work.findWait(),
    isFree: () => !work.pausesWrites,
    run: () =>
      doJob({ name: 'run', by: 'schedule' }, (context) => work.run(context)).then(
        () => {},
        (error: unknown) => logger.error({ reason: (error as Error).message }, 'scheduled run failed'),
      ),
  });

  const perform = (command: CleanCommand, connection: CommandConnection): Promise<CommandEnd> => {
    const { stop, gone } = connection;
    const onProgress: JobContext['onProgress'] = (progress) => connection.show({ progress });
    const change = async (name: Job['name'], act: (context: JobContext) => Promise<string>) => {
      const text = await doJob({ name, by: 'command', signal: stop }, act, onProgress);
      await connection.reply({ text });
      return { goes: false };
    };
    switch (command.command) {
      case 'plan':
        return doJob(
          { name: 'plan', by: 'command', signal: gone },
          async (context) => {
            const { pieces, goes } = await work.plan(command, context);
            await connection.print(pieces);
            return { goes };
          },
          onProgress,
        );
      case 'run':
        return change('run', (context) => work.run(context));
      case 'undo':
        return change('undo', (context) => work.undo(command.run, context));
      case 'purge':
        return change('purge', (context) => work.purge(context));
      case 'remove-tag':
        return change('tag remove', (context) => work.removeTag(command, context));
      case 'status':
        return work
          .status(command, { job: jobs.current, nextRun: schedule.next, dueRun: schedule.due })
          .then((text) => connection.reply({ text }))
          .then(() => ({ goes: false }));
    }
  };

  const answer = async (command: CleanCommand | null, connection: CommandConnection) => {
    try {
      if (command === null)
        throw new OperatorError(
          'The cleaner does not know this command: is it of another version? Restart it after an upgrade.',
        );
      await connection.reply({ end: await perform(command, connection) });
    } catch (error) {
      if (!(error instanceof OperatorError || error instanceof DoorsError))
        logger.error({ err: error }, 'unforeseen error');
      await connection.reply({ error: (error as Error).message });
    }
    connection.end();
  };

  const onConnection = async (connected: Socket) => {
    connected.on('error', () => {});
    sockets.add(connected);
    connected.on('close', () => sockets.delete(connected));
    const line = await peekFirstLine(connected);
    const first = line === null ? null : parseFirstLine(line);
    if (line === null) connected.destroy();
    else if (first === 'hello') acceptDoor(connected);
    else {
      const answering = answer(first, openCommandConnection(connected));
      answers.add(answering);
      await answering;
      answers.delete(answering);
    }
  };
  const socket = await takeCleanSocket(options.socket, (connected) => void onConnection(connected));
  const purging = setInterval(() => {
    if (jobs.current !== null) return; // an hour later, then
    jobs
      .start({ name: 'purge', by: 'schedule' }, () => work.purgeExpired())
      .catch((error: unknown) => {
        logger.error({ reason: (error as Error).message }, 'the quarantine could not be purged');
      })
      .finally(() => schedule.look());
  }, purgeEveryMs);

  return {
    get nextRun() {
      return schedule.next;
    },
    reload: (settings) => {
      ({ work } = settings);
      schedule.use(settings.schedule);
    },
    close: async () => {
      schedule.stop();
      clearInterval(purging);
      await jobs.close();
      await Promise.all(answers);
      const closed = socket.close();
      for (const connected of sockets) connected.destroySoon();
      await closed;
    },
  };
}
