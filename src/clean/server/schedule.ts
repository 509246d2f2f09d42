import { Cron } from 'croner';

/** When a run begins by itself. One that was missed while the cleaner was down is not made up for. */
export type Schedule = { readonly next: Date | null; stop(): void };

/** @param expression a checked cron expression, in local time; null: never */
export function startSchedule(expression: string | null, onTime: () => void): Schedule {
  if (expression === null) return { next: null, stop: () => {} };
  const cron = new Cron(expression, { mode: '5-part', unref: true }, onTime);
  return {
    get next() {
      return cron.nextRun();
    },
    stop: () => cron.stop(),
  };
}
