import type { Logger } from 'pino';
import type { ServedState } from '../app/served-state.ts';
import type { Config } from '../config/schema/schema.ts';
import type { LoadedConfig } from '../config/load/load.ts';
import type { LogSink } from '../telemetry/log/logger.ts';
import { loadPemFiles } from '../app/pem-files.ts';
import { keepsInventory } from '../config/schema/keeps-inventory.ts';
import { findAcmeFolder } from '../config/schema/acme-folder.ts';
import type { ServerStatus } from '../admin/server-status.ts';
import type { Acme } from './acme.ts';
import { createCleanDoor } from './clean/clean-door.ts';
import { createCleanProcess } from './clean/clean-processes.ts';
import { createDrainLog } from './drain-log.ts';
import type { ListenAddress } from '../app/app.ts';
import type { ReloadOutcome } from '../admin/admin.ts';
import { createReloader, type ReloaderOptions } from './reloader.ts';
import type { Serving } from './serving.ts';
import type { Monitor } from '../admin/monitor.ts';
import type { InventoryRead, ReadInventory } from '../inventory/reading/registry-reader.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import { createInventory, type Inventory } from '../inventory/inventory.ts';
import { openUsageRecord, type UsageRecord } from '../usage/usage-record.ts';

/** A running Tidegate, of one process or several. */
export type Server = {
  readonly address: ListenAddress;
  /** The current status. */
  readonly status: () => ServerStatus;
  /** Reloads configuration and files, all or nothing. Never rejects; logs the outcome. */
  readonly reload: () => Promise<ReloadOutcome>;
  /**
   * Stops accepting, lets requests in progress finish for `graceMs` milliseconds (0: cuts them; left out:
   * shutdown.timeout), and frees everything.
   */
  close(options: { graceMs?: number }): Promise<void>;
};

export type ServerOptions = Pick<LoadedConfig, 'config' | 'configPath'> & {
  readonly logger: Logger;
  readonly passOn: LogSink['passOn'];
  /** Reloads the configuration in the same way. @throws OperatorError when it is not valid. */
  readonly load: ReloaderOptions['load'];
};

/**
 * Opens Tidegate in this process, or in several for more than one worker, with its monitor.
 * @throws OperatorError when a certificate, a file or the address is not usable.
 */
export async function openServer(options: ServerOptions): Promise<Server> {
  const { config, configPath, logger, passOn, load } = options;
  const { pem, warnings } = await loadPemFiles(config, new Date(), null);
  for (const warning of warnings) logger.warn(warning);
  const initial = { config, pem };
  const usage = await openUsage(config, logger);
  const inventory = openInventory(config, usage, logger);
  const lists = inventory?.lists ?? null;
  const clean = createCleanDoor({ usage, logger });
  await clean.announce(config);
  const serving = await openServing(initial, { logger, passOn, usage, lists }).catch(
    async (error: unknown) => {
      await clean.close();
      await usage?.close();
      throw error;
    },
  );
  clean.serve(serving.clean);
  const read = (asked: InventoryRead, signal: AbortSignal) =>
    serving.clean.processes.perform({ kind: 'read-inventory', read: asked }, signal);
  inventory?.start(read as ReadInventory);
  let monitor: Monitor | null = null;
  const certificate = createAcmeSwitch(serving, logger);
  const reloader = createReloader({
    initial,
    configPath,
    load,
    serving,
    onReload: (result, trigger) => {
      void monitor?.reloaded(result, reloader.state());
      if (result === 'refused') return;
      void certificate.use(reloader.state(), trigger === 'request');
      clean.use(reloader.state().config);
      inventory?.use(reloader.state().config);
    },
    logger,
  });
  await certificate.use(initial, false);
  let draining = false;
  const server: Server = {
    address: serving.address,
    status: () => {
      const { config: inEffect, pem: files } = reloader.state();
      const { names, notAfterMs, origin } = files;
      return {
        config: inEffect,
        certificate: { names, notAfterMs, origin, acme: certificate.status() },
        draining,
        workers: serving.workers(),
        clean: clean.state(),
      };
    },
    reload: () => reloader.reload(),
    close: async ({ graceMs = reloader.state().config.shutdown.timeout }) => {
      draining = true;
      reloader.close();
      await certificate.close();
      const closed = serving.close({ graceMs });
      const drainLog = graceMs > 0 ? createDrainLog(logger, () => serving.waiting()) : null;
      await inventory?.close();
      await closed;
      await clean.close();
      await usage?.close();
      drainLog?.stop();
      monitor?.close(); // closed last: /readyz says 503 while transfers end
    },
  };
  const { admin, alerts } = config;
  if (admin.port === null && alerts.webhook === null && alerts.smtp.url === null) return server;
  try {
    const { openMonitor } = await import('../admin/monitor.ts');
    const { status, reload } = server;
    monitor = await openMonitor({
      config,
      pem,
      logger,
      door: { status, reports: () => serving.reports() },
      usage,
      inventory,
      reload,
    });
    return server;
  } catch (error) {
    await server.close({ graceMs: 0 });
    throw error;
  }
}

function openUsage(config: Config, logger: Logger): Promise<UsageRecord> | null {
  const { state } = config;
  if (!state.usage) return null;
  const limits = { maxRows: state.usageRows, maxBytes: state.usageBytes };
  const inventory = keepsInventory(config)
    ? { maxRows: state.inventoryRows, maxBytes: state.inventoryBytes }
    : null;
  return openUsageRecord({ stateDir: state.dir, limits, inventory, logger, now: () => Date.now() });
}

function openInventory(config: Config, usage: UsageRecord | null, logger: Logger): Inventory | null {
  if (usage === null || !keepsInventory(config)) return null;
  const inventory = createInventory({
    call: usage.callInventory,
    delayMs: config.state.inventoryDelay,
    logger,
    now: () => Date.now(),
  });
  inventory.use(config);
  return inventory;
}

/** Orders certificates while the configuration says so. */
function createAcmeSwitch(serving: Serving, logger: Logger) {
  let opening: Promise<Acme> | null = null;
  let opened: Acme | null = null;
  return {
    use: async (state: ServedState, isAsked: boolean): Promise<void> => {
      if (opening === null && findAcmeFolder(state.config) === null) return;
      // Loaded when needed, as most have a certificate of their own.
      opening ??= import('./acme.ts').then(({ openAcme }) => openAcme({ ...state, serving, logger }));
      opened = await opening;
      opened.use(state.config, isAsked);
    },
    status: () => opened?.status() ?? null,
    close: async (): Promise<void> => {
      await (await opening)?.close();
    },
  };
}

async function openServing(
  initial: ServedState,
  parts: {
    logger: Logger;
    passOn: LogSink['passOn'];
    usage: UsageRecord | null;
    lists: RepositoryLists | null;
  },
): Promise<Serving> {
  // Loaded when needed: the primary process does not use the modules that serve clients.
  if (initial.config.workers > 1) {
    const { openWorkers } = await import('./primary.ts');
    return openWorkers({ ...initial, ...parts });
  }
  const { createApp } = await import('../app/app.ts');
  const { logger, usage, lists } = parts;
  const app = await createApp({ ...initial, logger, usage, lists });
  return {
    address: app.address,
    workers: () => ({ wanted: 1, serving: 1, restarts: 0, crashLoop: false }),
    reports: async () => [await app.report()],
    waiting: () => Promise.resolve(app.waiting()),
    answerChallenges: (answers) => {
      app.answerChallenges(answers);
      return Promise.resolve();
    },
    clean: { ...app.deletes, processes: createCleanProcess(app) },
    prepare: async (state, options) => {
      const prepared = await app.prepare(state, options);
      return {
        ...prepared,
        commit: () => {
          prepared.commit();
          return Promise.resolve();
        },
      };
    },
    close: (end) => app.close(end),
  };
}
