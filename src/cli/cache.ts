import type { Command } from 'commander';
import type { Cluster, Redis } from 'ioredis';
import { onConnectionError, openRedis } from '../redis/open.ts';
import { flushRedis, readRedisStats } from '../cache/stores/redis-admin.ts';
import { createRedisKeys, type RedisKeys } from '../redis/keys.ts';
import { runScript } from '../redis/run-script.ts';
import { loadConfig } from '../config/load/load.ts';
import { OperatorError } from '../system/operator-error.ts';
import { loadRedisCa } from '../app/pem-files.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';

/** Adds `cache stats` and `cache flush`: what is in the Redis that the instances share, and how to empty it. */
export function addCacheCommand(program: Command): void {
  const cache = program.command('cache').description('show or empty the cache in Redis');
  const stats = cache.command('stats').description('show how many answers are cached, and their size');
  addConfigOptions(stats).action(() =>
    withRedis(stats, async (redis, keys, maxBytes) => {
      const { entries, bytes } = await readRedisStats(
        (script, names, args) => runScript(redis, script, names, args),
        keys,
      );
      return `entries: ${entries}\nbytes: ${bytes} of ${maxBytes}\n`;
    }),
  );
  const flush = cache.command('flush').description('forget every cached answer, for all instances at once');
  addConfigOptions(flush).action(() =>
    withRedis(flush, async (redis, keys) => {
      await flushRedis(redis, keys);
      return 'The cache is empty.\n';
    }),
  );
}

/** The time limit of the commands on Redis, in milliseconds. */
const readyTimeoutMs = 5000;

async function withRedis(
  command: Command,
  act: (redis: Redis | Cluster, keys: RedisKeys, maxBytes: number) => Promise<string>,
): Promise<void> {
  const { config } = await loadConfig(readConfigOptions(command));
  const { driver, redis: settings, maxBytes } = config.cache;
  if (driver !== 'redis') {
    throw new OperatorError(
      `cache.driver is ${driver}: only a cache in Redis can be reached from here; one in memory is emptied by a restart.`,
    );
  }
  const ca = settings.ca === null ? null : (await loadRedisCa(settings.ca)).pem;
  const redis = await openRedis(settings, ca);
  let lastError = new Error('it accepted no connection in time');
  onConnectionError(redis, (error) => (lastError = error));
  try {
    await whenReady(redis);
    process.stdout.write(
      await act(redis, createRedisKeys(settings.keyPrefix, config.upstream.url), maxBytes),
    );
  } catch (error) {
    const reason = error instanceof Error ? error.message : lastError.message;
    throw new OperatorError(
      `Redis at ${settings.url} cannot be used (${reason}): is it running, and is cache.redis right?`,
    );
  } finally {
    redis.disconnect();
  }

  function whenReady(connecting: Redis | Cluster): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(lastError), readyTimeoutMs);
      connecting.once('ready', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
