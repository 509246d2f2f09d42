import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import { openCleaner } from '../../clean/server/cleaner.ts';
import { checkStorageAccess } from '../../clean/server/storage-access.ts';
import { loadConfig } from '../../config/load/load.ts';
import type { Config } from '../../config/schema/schema.ts';
import { createServiceManager } from '../../system/service-manager.ts';
import { chooseLogFormat, createLogger } from '../../telemetry/log/logger.ts';
import { addConfigOptions, readConfigOptions } from '../config.ts';
import { createPolicyWarner } from '../policy/policy-warnings.ts';
import { findCleanWarnings } from './clean-warnings.ts';
import { openCleanWork } from './clean-work.ts';
import { requireStorage } from './cleaner-command.ts';

/** Adds `clean serve`: the process that may write to the registry's storage. */
export function addCleanServeCommand(clean: Command): void {
  const command = clean
    .command('serve')
    .description(
      'run the cleaner beside the registry, as its user: it does what the commands ask and runs by clean.schedule (SIGHUP reloads; SIGTERM and SIGINT end a run at its next safe point)',
    );
  addConfigOptions(command).action(async () => {
    // A SIGHUP now requests nothing new; without this listener it would end the process.
    process.on('SIGHUP', () => {});
    process.on('SIGUSR1', () => {}); // early, so that SIGUSR1 starts no debugger
    const load = async () => {
      const loaded = await loadConfig(readConfigOptions(command));
      return { loaded, warnings: findCleanWarnings(loaded) };
    };
    const { loaded, warnings } = await load();
    const { config, settings } = loaded;
    requireStorage(config);
    const { socket } = config.clean;
    // With a collector the registry's files are its own affair.
    const storage = config.clean.collector.length > 0 ? null : config.upstream.storage;
    if (storage !== null) await checkStorageAccess(storage);
    // The files of the log are the front door's.
    const { logger, exit } = await createLogger({
      level: config.log.level,
      format: chooseLogFormat(config.log, settings),
      ...{ accessFile: null, errorFile: null, auditFile: null },
      ...{ isShared: false, isRequired: true },
    });
    const warn = createPolicyWarner(logger);
    warn(warnings);
    const { doors, configure, record } = await openCleanWork(storage, { loaded, logger });
    const cleaner = await openCleaner({
      ...{ socket, logger, record, schedule: config.clean.schedule, work: configure(loaded) },
      acceptDoor: (connected) => doors.accept(connected),
    });
    const manager = createServiceManager({ env: process.env, pid: process.pid, logger });
    const { schedule } = config.clean;
    logger.info({ looksAfter: storage, socket, schedule, nextRun: cleaner.nextRun }, 'cleaner ready');
    manager.ready();

    const reload = async () => {
      const { loaded: again, warnings: found } = await load();
      warn(found);
      tellUnchanged(config, again.config, logger);
      const { schedule: next } = again.config.clean;
      cleaner.reload({ schedule: next, work: configure(again) });
      logger.info({ schedule: next, nextRun: cleaner.nextRun }, 'cleaner reloaded');
    };
    process.on('SIGHUP', () => {
      manager.reloading();
      reload()
        .catch((error: unknown) => {
          logger.error(
            { reason: (error as Error).message },
            'reload refused: the previous configuration stays in effect',
          );
        })
        .finally(() => manager.ready());
    });
    const stop = () => {
      process.once('SIGTERM', () => void exit(1));
      process.once('SIGINT', () => void exit(1));
      manager.stopping();
      void cleaner
        .close()
        .then(() => doors.close())
        .then(() => {
          logger.info('stopped');
          return exit(0);
        });
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  });
}

/** Says which changes wait for the next start. */
function tellUnchanged(running: Config, loaded: Config, logger: Logger): void {
  const keys = {
    'upstream.storage': ({ upstream }: Config) => upstream.storage,
    'clean.socket': ({ clean }: Config) => clean.socket,
    log: ({ log }: Config) => log,
  };
  const changed = Object.entries(keys)
    .filter(([, read]) => !isDeepStrictEqual(read(running), read(loaded)))
    .map(([key]) => key);
  if (changed.length > 0) logger.warn({ keys: changed }, 'unchanged until the next start of the cleaner');
}
