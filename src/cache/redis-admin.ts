import type { Cluster, Redis } from 'ioredis';
import { runScript, type RedisKeys } from './redis-keys.ts';
import { flushScript, statsScript } from './redis-scripts.ts';
import type { StoreStats } from './store.ts';

/** Entries and bytes in Redis; drops from the accounting what Redis itself has dropped. @throws Error as Redis says it. */
export async function readRedisStats(redis: Redis | Cluster, keys: RedisKeys): Promise<StoreStats> {
  const [entries, bytes] = (await runScript(redis, statsScript, [keys.index], [])) as [number, number];
  return { entries, bytes };
}

/** Forgets every answer, for all instances at once. @throws Error as Redis says it. */
export async function flushRedis(redis: Redis | Cluster, keys: RedisKeys): Promise<void> {
  await runScript(redis, flushScript, [keys.epoch, keys.index], []);
}
