import type { Command } from 'commander';
import { openFrontDoor } from '../cluster/front-door.ts';
import { loadConfig } from '../config/load.ts';
import { chooseLogFormat, createLogger } from '../observability/logger.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';

/** Adds `serve`: runs the front door until a signal ends it. */
export function addServeCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('run the front door (SIGTERM lets transfers finish, SIGINT stops at once)');
  addConfigOptions(command).action(async () => {
    process.on('SIGUSR1', () => {}); // early, so that it starts no debugger
    const { config: given, settings } = await loadConfig(readConfigOptions(command));
    const config = { ...given, log: { ...given.log, format: chooseLogFormat(given.log, settings) } };
    const { workers, upstream } = config;
    const { logger, exit } = await createLogger({ ...config.log, isShared: workers > 1, isRequired: true });
    const frontDoor = await openFrontDoor({ config, logger });
    const { address, names } = frontDoor;
    logger.info({ ...address, names, upstream: upstream.url, workers }, 'listening');
    const stop = (graceMs: number) => {
      process.once('SIGTERM', () => void exit(1));
      process.once('SIGINT', () => void exit(1));
      void frontDoor.close({ graceMs }).then(() => {
        logger.info('stopped');
        return exit(0);
      });
    };
    process.once('SIGTERM', () => stop(config.shutdown.timeout));
    process.once('SIGINT', () => stop(0));
  });
}
