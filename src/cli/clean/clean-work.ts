import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { openDoors, type OpenDoors } from '../../clean/channel/open-doors.ts';
import { openCleanFolder } from '../../clean/quarantine/clean-folder.ts';
import { disk } from '../../clean/quarantine/disk.ts';
import { readTakenDigests } from '../../clean/quarantine/taken-digests.ts';
import type { CleanFolder } from '../../clean/quarantine/clean-folder.ts';
import type { CleanWork } from '../../clean/server/cleaner.ts';
import { createPausedWork } from '../../clean/server/paused-work.ts';
import { createScheduleRecord, type ScheduleRecord } from '../../clean/server/schedule-record.ts';
import { createOnlineWork, nothingTaken } from '../../clean/server/online-work.ts';
import type { LoadedConfig } from '../../config/load/load.ts';
import type { Config } from '../../config/schema/schema.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { version } from '../../config/version.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import { findPlace } from '../policy/policy-warnings.ts';

/** What the cleaner works with. */
export type OpenWork = {
  /** Closed when no work goes on any more. */
  readonly doors: OpenDoors;
  readonly record: ScheduleRecord;
  /** Gives the work under this configuration, from now on. */
  readonly configure: (loaded: LoadedConfig) => CleanWork;
};

/**
 * Opens the cleaner's folder in the storage, and what speaks with the front doors.
 *
 * @throws OperatorError when the folder cannot be used
 */
export async function openCleanWork(
  storage: string | null,
  { loaded, logger }: { readonly loaded: LoadedConfig; readonly logger: Logger },
): Promise<OpenWork> {
  const folder =
    storage === null ? await openStateFolder(loaded.config) : await openCleanFolder(storage, disk);
  const startedAt = Date.now();
  const memory = { failures: 0, taken: nothingTaken };
  let graceMs = loaded.config.clean.grace;
  const doors = await openDoors({
    ...{ version, logger, now: Date.now, graceMs: () => graceMs },
    file: join(folder.path, 'doors.json'),
    readTaken: () => readTakenDigests(folder),
  });
  return {
    doors,
    record: createScheduleRecord(folder),
    configure: (current) => {
      const { clean, immutableTags } = current.config;
      graceMs = clean.grace;
      if (storage === null)
        return createPausedWork({
          ...{ folder, doors: doors.doors, logger, startedAt, memory },
          settings: {
            ...{ version, clean, registry: current.config.upstream.url },
            immutableTags: immutableTags.map(parseTagPattern),
          },
        });
      return createOnlineWork({
        ...{ folder, doors: doors.doors, logger, startedAt, memory },
        settings: {
          ...{ version, schedule: clean.schedule, clean },
          immutableTags: immutableTags.map(parseTagPattern),
          placeOf: (path) => findPlace(current, ['clean.rules', ...path]),
        },
      });
    },
  };
}

/** For a storage that is not files the cleaner's state lies beside the other state. */
async function openStateFolder({ state }: Config): Promise<CleanFolder> {
  const path = join(state.dir, 'clean');
  try {
    await mkdir(path, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new OperatorError(
      `The folder ${path} (state.dir) cannot be created: ${(error as Error).message}. The cleaner's user must be able to write there.`,
      { cause: error },
    );
  }
  return { root: state.dir, path, disk };
}
