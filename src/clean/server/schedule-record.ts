import { join } from 'node:path';
import * as z from 'zod';
import type { CleanFolder } from '../quarantine/clean-folder.ts';
import { replaceFile } from '../quarantine/disk.ts';
import { readJsonFile } from '../quarantine/journal.ts';

const handled = z.object({ schedule: z.string().nullable(), handledAt: z.number().max(8e15) });

/** Up to when the runs of a schedule were begun, in milliseconds since the epoch. */
export type HandledSchedule = z.output<typeof handled>;

export type ScheduleRecord = {
  /** Null: nothing is known, so nothing was missed. */
  read(): Promise<HandledSchedule | null>;
  note(handled: HandledSchedule): Promise<void>;
};

/** Keeps it in the cleaner's folder. */
export function createScheduleRecord({ disk, path }: CleanFolder): ScheduleRecord {
  const file = join(path, 'schedule.json');
  return {
    read: () => readJsonFile(file, handled).catch(() => null),
    note: (value) => replaceFile(disk, file, `${JSON.stringify(value)}\n`),
  };
}
