import type { Logger } from 'pino';
import type { WorkerIpc } from '../../system/worker-ipc.ts';
import type { RedisConfig, SharedRedis } from '../../redis/open.ts';
import { createMemoryStore } from './memory-store.ts';
import { createSharedMemoryStore, type WriteNotice } from './shared-memory-store.ts';
import type { CacheStore } from './store.ts';

/** The configuration of the cache; durations in milliseconds, sizes in bytes. */
export type CacheConfig = {
  readonly driver: 'memory' | 'redis' | 'off';
  readonly redis: RedisConfig;
  readonly maxBytes: number;
  readonly tagTtl: number;
};

/**
 * Twice the time in which another instance notices that Redis is back: a pause, an attempt to connect, a tick of its
 * check.
 */
const redisSettleMs = 2000;

/** Opens the configured store; null for none. `ipc` connects the workers of this instance. */
export async function openCacheStore(
  { cache, upstream }: { readonly cache: CacheConfig; readonly upstream: { readonly url: string } },
  redis: SharedRedis,
  logger: Pick<Logger, 'info' | 'warn'>,
  ipc: WorkerIpc<WriteNotice> | undefined,
): Promise<CacheStore | null> {
  const limits = { maxBytes: cache.maxBytes, ttlMs: cache.tagTtl };
  switch (cache.driver) {
    case 'off':
      return null;
    case 'memory': {
      const store = createMemoryStore(limits, () => performance.now());
      return ipc ? createSharedMemoryStore(store, ipc) : store;
    }
    case 'redis': {
      const { createRedisStore } = await import('./redis-store.ts');
      const { keyPrefix, timeout } = cache.redis;
      return createRedisStore({
        ...limits,
        redis: await redis.get(),
        keyPrefix,
        upstreamUrl: upstream.url,
        timeoutMs: timeout,
        settleMs: redisSettleMs,
        logger,
        ipc,
      });
    }
  }
}
