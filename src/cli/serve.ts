import type { Command } from 'commander';
import { openServer } from '../supervisor/server.ts';
import { loadConfig } from '../config/load/load.ts';
import { chooseLogFormat, createLogger } from '../telemetry/log/logger.ts';
import { createServiceManager } from '../system/service-manager.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';
import { findCleanWarnings } from './clean/clean-warnings.ts';
import { findExposedSecrets } from './exposed-secrets.ts';
import { createPolicyWarner, findPolicyWarnings } from './policy/policy-warnings.ts';

/** Adds `serve`: runs Tidegate until a signal ends it. */
export function addServeCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('run the server (SIGHUP reloads, SIGTERM lets transfers finish, SIGINT stops at once)');
  addConfigOptions(command).action(async () => {
    // A SIGHUP now requests nothing new; without this listener it would end the process.
    process.on('SIGHUP', () => {});
    process.on('SIGUSR1', () => {}); // early, so that SIGUSR1 starts no debugger
    const load = async () => {
      const { config, settings, configPath, isEmpty } = await loadConfig(readConfigOptions(command));
      const log = { ...config.log, format: chooseLogFormat(config.log, settings) };
      const warnings = [
        ...findExposedSecrets({ settings }),
        ...(await findPolicyWarnings({ config, settings })),
        ...findCleanWarnings({ config, settings }),
      ];
      return { config: { ...config, log }, configPath, isEmpty, warnings };
    };
    const { config, configPath, warnings } = await load();
    const { workers, upstream } = config;
    const { logger, exit, passOn } = await createLogger({
      ...config.log,
      isShared: workers > 1,
      isRequired: true,
    });
    const warn = createPolicyWarner(logger);
    warn(warnings);
    const loadAgain = async () => {
      const loaded = await load();
      warn(loaded.warnings);
      return loaded;
    };
    const server = await openServer({ config, configPath, logger, passOn, load: loadAgain });
    const manager = createServiceManager({ env: process.env, pid: process.pid, logger });
    const { names } = server.status().certificate;
    logger.info({ ...server.address, names, upstream: upstream.url, workers }, 'listening');
    manager.ready();
    process.on('SIGHUP', () => {
      manager.reloading();
      void server.reload().then(() => {
        if (!server.status().draining) manager.ready();
      });
    });
    const stop = (options: { graceMs?: number }) => {
      process.once('SIGTERM', () => void exit(1));
      process.once('SIGINT', () => void exit(1));
      manager.stopping();
      void server.close(options).then(() => {
        logger.info('stopped');
        return exit(0);
      });
    };
    process.once('SIGTERM', () => stop({}));
    process.once('SIGINT', () => stop({ graceMs: 0 }));
  });
}
