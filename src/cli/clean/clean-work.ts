import { join } from 'node:path';
import type { Logger } from 'pino';
import { openDoors, type OpenDoors } from '../../clean/channel/doors.ts';
import { openCleanFolder } from '../../clean/quarantine/clean-folder.ts';
import { disk } from '../../clean/quarantine/disk.ts';
import { readTakenDigests } from '../../clean/quarantine/taken-digests.ts';
import type { CleanWork } from '../../clean/server/cleaner.ts';
import { createOnlineWork, nothingTaken } from '../../clean/server/online-work.ts';
import type { LoadedConfig } from '../../config/load/load.ts';
import { version } from '../../config/version.ts';
import { parseTagPattern } from '../../policy/tag-pattern.ts';
import { findPlace } from '../policy/policy-warnings.ts';

/** What the cleaner works with. */
export type OpenWork = {
  /** Closed when no work goes on any more. */
  readonly doors: OpenDoors;
  /** Gives the work under this configuration, from now on. */
  readonly configure: (loaded: LoadedConfig) => CleanWork;
};

/**
 * Opens the cleaner's folder in the storage, and what speaks with the front doors.
 *
 * @throws OperatorError when the folder cannot be used
 */
export async function openCleanWork(
  storage: string,
  { loaded, logger }: { readonly loaded: LoadedConfig; readonly logger: Logger },
): Promise<OpenWork> {
  const folder = await openCleanFolder(storage, disk);
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
    configure: (current) => {
      const { clean, immutableTags } = current.config;
      graceMs = clean.grace;
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
