import type { Logger } from 'pino';
import type { ServedState } from '../app/served-state.ts';
import type { Config } from '../config/schema/schema.ts';
import type { RepositoryLists } from '../inventory/repository-lists.ts';
import type { LogSink } from '../telemetry/log/logger.ts';
import type { UsageSink } from '../usage/usage-buffer.ts';
import type { Serving } from './serving.ts';
import { openSharedServices } from './shared-services.ts';
import { createWorkerPool } from './workers/worker-pool.ts';
import { setUpWorkers } from './workers/worker-process.ts';

/** How often each worker must show that it is alive, in milliseconds. */
const checkIntervalMs = 5000;

/**
 * Starts the workers, which share one listening socket, and the services of the primary process.
 * @throws OperatorError when one of them cannot start: then all are ended.
 */
export async function openWorkers({
  config,
  pem,
  logger,
  passOn,
  usage,
  lists,
}: ServedState & {
  logger: Logger;
  passOn: LogSink['passOn'];
  usage: UsageSink | null;
  lists: RepositoryLists | null;
}): Promise<Serving> {
  warnOfSmallShare(config, logger);
  setUpWorkers();
  const services = await openSharedServices({ config, pem, logger, usage, lists });
  const pool = createWorkerPool({ size: config.workers, services, passOn, logger });
  // Each process reopens its own log files.
  process.on('SIGUSR1', () => pool.reopenLogs());
  try {
    const address = await pool.start();
    const checks = setInterval(() => services.check(), checkIntervalMs).unref();
    return {
      address,
      workers: () => pool.status(),
      reports: () => services.reports(),
      waiting: () => pool.waiting(),
      prepare: (next, options) => {
        warnOfSmallShare(next.config, logger);
        return services.prepare(next, options);
      },
      answerChallenges: (challenges) => services.answerChallenges(challenges),
      clean: services.clean,
      close: async ({ graceMs }) => {
        clearInterval(checks);
        await pool.stop(graceMs);
        await services.close();
      },
    };
  } catch (error) {
    await pool.kill();
    await services.close();
    throw error;
  }
}

function warnOfSmallShare({ cache, workers }: Config, logger: Logger): void {
  const { maxBytes, maxEntryBytes } = cache;
  if (cache.driver !== 'memory' || Math.floor(maxBytes / workers) >= maxEntryBytes) return;
  logger.warn(
    { workers, maxBytes, maxEntryBytes },
    "a worker's part of cache.maxBytes is less than cache.maxEntryBytes, and larger manifests are not cached: raise cache.maxBytes, or lower workers",
  );
}
