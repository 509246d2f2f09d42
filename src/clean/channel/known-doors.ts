import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import { readStateFile } from '../quarantine/state-file.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { maxGraceMs } from './parse-messages.ts';

/** Far more than there are: a front door that starts again and again is a new one each time. */
const maxDoors = 1000;
/** What one that vanished sent last, the registry may still execute. */
const vanishedMs = 3000;
/** A time that can be written, also with the grace added. */
const latestMs = 8e15;
const maxBytes = 16 * 1024 * 1024;

const knownDoor = z.object({
  id: z.string(),
  pid: z.number(),
  host: z.string(),
  graceMs: z.number().max(maxGraceMs),
  /** When it was last heard, and when it signed off; null: it has not. In milliseconds since the epoch. */
  heardAt: z.number().max(latestMs),
  leftAt: z.number().max(latestMs).nullable(),
});

/** A front door that has been here, and whose leases may not have expired. */
export type KnownDoor = Readonly<z.infer<typeof knownDoor>>;

/** The front doors, in a file: one that vanishes may serve on, and its clients rely on what it answered. */
export type KnownDoors = {
  /** Those whose leases have not expired. */
  list(): readonly KnownDoor[];
  /** Resolves when it is written. */
  note(door: KnownDoor): Promise<void>;
  /** The same: it has never served. */
  forget(id: string): Promise<void>;
};

/**
 * @param now milliseconds since the epoch
 * @throws OperatorError when the file cannot be read
 */
export async function openKnownDoors(file: string, now: () => number): Promise<KnownDoors> {
  // One that has not signed off may have served until now, while nobody listened.
  const doors = new Map((await load(file, now())).map((door) => [door.id, door]));
  let writing: Promise<unknown> = Promise.resolve();

  const list = () => {
    for (const [id, { heardAt, leftAt, graceMs }] of doors)
      if ((leftAt ?? heardAt + vanishedMs) + graceMs < now()) doors.delete(id);
    return [...doors.values()];
  };
  const write = (): Promise<void> => {
    const written = writing.then(() => save(file, list()));
    writing = written.catch(() => {});
    return written;
  };
  return {
    list,
    note: (door) => {
      if (!doors.has(door.id) && list().length >= maxDoors)
        return Promise.reject(new Error(`more than ${maxDoors} have come within clean.grace`));
      doors.set(door.id, door);
      return write();
    },
    forget: (id) => {
      doors.delete(id);
      return write();
    },
  };
}

async function load(file: string, nowMs: number): Promise<KnownDoor[]> {
  try {
    const text = await readStateFile(file, maxBytes);
    if (text === null) return [];
    const doors = z.array(knownDoor).parse(JSON.parse(text));
    return doors.map((door) => (door.leftAt === null ? { ...door, heardAt: nowMs } : door));
  } catch (error) {
    throw new OperatorError(
      `${file} cannot be read, and without it nobody knows which front doors serve: ${(error as Error).message}. When none but those that run now has served within clean.grace, remove the file.`,
      { cause: error },
    );
  }
}

async function save(file: string, doors: readonly KnownDoor[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o750 });
  await rm(`${file}.new`, { force: true });
  const handle = await open(`${file}.new`, 'wx', 0o640);
  try {
    await handle.writeFile(`${JSON.stringify(doors, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}
