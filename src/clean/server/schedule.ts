import { Cron } from 'croner';
import type { Logger } from 'pino';
import type { GraceWait } from '../channel/grace-wait.ts';
import { formatMinute } from '../channel/minute.ts';
import type { ScheduleRecord } from './schedule-record.ts';

/** A run that is due by the schedule, and waits. Times in milliseconds since the epoch. */
export type DueRun = {
  readonly dueAt: number;
  /** When it is tried next; null: when the present job has ended. */
  readonly until: number | null;
  readonly why: string;
};

/** Begins runs by `clean.schedule`, one at a time. */
export type Schedule = {
  /** Null: none is due, or it runs. */
  readonly due: DueRun | null;
  /** Of the run that is due, or else by the expression. Null: by command only, or not known. */
  readonly next: Date | null;
  /** Puts another expression in effect. A run that is due stays so, unless the expression is another one. */
  use(expression: string | null): void;
  /** Call it when a job has ended. */
  look(): void;
  stop(): void;
};

export type ScheduleOptions = {
  readonly record: ScheduleRecord;
  /** Whether another job runs. */
  readonly isBusy: () => boolean;
  /** Why a run would take nothing now, if time alone mends it. */
  readonly findWait: () => Promise<GraceWait | null>;
  /** Whether a run may begin at another time than its own. */
  readonly isFree: () => boolean;
  /** Resolves when the run has ended; never rejects. */
  readonly run: () => Promise<void>;
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
};

/** How often in a row a run is put off. Then it begins, and is refused. */
const maxPutOff = 2;
/** The longest time between two looks at the clock, in milliseconds: it may be set, and a machine may sleep. */
const maxWaitMs = 60_000;

type Due = { readonly dueAt: number; putOff: number; wait: GraceWait | null };

/** @param expression a checked cron expression, in local time; null: never */
export function openSchedule(expression: string | null, options: ScheduleOptions): Schedule {
  const { record, isBusy, findWait, isFree, logger } = options;
  let inEffect = expression;
  let cron = startCron(expression);
  let due: Due | null = null;
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;
  let isStopped = false;

  function startCron(text: string | null): Cron | null {
    return text === null ? null : new Cron(text, { mode: '5-or-6-parts', unref: true }, onTime);
  }
  function onTime(): void {
    // One that waits is not joined by another.
    due ??= { dueAt: Date.now(), putOff: 0, wait: null };
    look();
  }
  const note = () =>
    record.note({ schedule: inEffect, handledAt: Date.now() }).catch((error: unknown) => {
      logger.warn({ reason: (error as Error).message }, 'the time of the scheduled run cannot be noted');
    });

  /** When a run that is put off is tried again. */
  const findRetry = ({ untilMs, why }: GraceWait): GraceWait => {
    const free = isFree() ? new Date(untilMs) : cron?.nextRun(new Date(untilMs - 1));
    return { untilMs: free?.getTime() ?? untilMs, why };
  };
  /** Whether it must wait for longer. */
  const putOff = async (run: Due): Promise<boolean> => {
    if (run.putOff >= maxPutOff) return false;
    const wait = await findWait().catch(() => null); // the run says what is wrong
    if (wait === null) return false;
    run.putOff += 1;
    run.wait = findRetry(wait);
    const until = formatMinute(run.wait.untilMs);
    logger.info({ until, reason: wait.why, times: run.putOff }, 'scheduled run put off');
    return true;
  };
  const begin = async (): Promise<void> => {
    if (due === null || isBusy()) return;
    const leftMs = (due.wait?.untilMs ?? 0) - Date.now();
    if (leftMs > 0) {
      clearTimeout(timer);
      timer = setTimeout(look, Math.min(leftMs, maxWaitMs)).unref();
      return;
    }
    const run = due;
    if (await putOff(run)) {
      if (due === run) await begin();
      return;
    }
    // Meanwhile a command may have come, or another schedule.
    if (due !== run || isBusy() || isStopped) return;
    due = null;
    const done = options.run();
    await note();
    await done;
  };
  function look(): void {
    if (isLooking || isStopped) return;
    isLooking = true;
    begin()
      .catch((error: unknown) => logger.error({ err: error }, 'scheduled run not begun'))
      .finally(() => {
        isLooking = false;
        if (due !== null && due.wait === null && !isBusy()) look();
      });
  }

  /** Makes up for a run that was missed while no cleaner ran. */
  const catchUp = async (): Promise<void> => {
    const last = await record.read();
    const missed =
      isFree() && cron !== null && last?.schedule === inEffect
        ? cron.nextRun(new Date(last.handledAt))
        : null;
    if (missed === null || missed.getTime() > Date.now()) {
      if (last?.schedule !== inEffect || !isFree()) await note();
      return;
    }
    logger.info({ missed: formatMinute(missed.getTime()) }, 'scheduled run was missed, and is made up for');
    due ??= { dueAt: missed.getTime(), putOff: 0, wait: null };
    look();
  };
  void catchUp();

  return {
    get due() {
      if (due === null) return null;
      const { dueAt, wait } = due;
      return { dueAt, until: wait?.untilMs ?? null, why: wait?.why ?? 'Another job runs.' };
    },
    get next() {
      const wait = due?.wait ?? null;
      return wait === null ? (cron?.nextRun() ?? null) : new Date(wait.untilMs);
    },
    use: (text) => {
      if (text !== inEffect) {
        cron?.stop();
        inEffect = text;
        cron = startCron(text);
        due = null;
        void note();
      }
      // With another clean.grace it may begin.
      if (due !== null) due = { dueAt: due.dueAt, putOff: 0, wait: null };
      look();
    },
    look,
    stop: () => {
      isStopped = true;
      cron?.stop();
      clearTimeout(timer);
    },
  };
}
