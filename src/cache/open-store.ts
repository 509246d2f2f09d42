import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Peers } from '../peers.ts';
import { createMemoryStore } from './memory-store.ts';
import { createSharedMemoryStore, type WriteNotice } from './shared-memory-store.ts';
import type { CacheStore } from './store.ts';

/** The cache's part of the configuration; durations in milliseconds, sizes in bytes. */
export type CacheConfig = {
  readonly driver: 'memory' | 'redis' | 'off';
  readonly redis: {
    readonly url: string;
    readonly keyPrefix: string;
    readonly username: string | null;
    readonly password: string | null;
    readonly timeout: number;
    readonly instanceTimeout: number;
  };
  readonly maxBytes: number;
  readonly tagTtl: number;
};

const redisConnectTimeoutMs = 2000;
/** Twice what another instance needs to notice that Redis is back: a pause, an attempt to connect, a turn of the watch. */
const redisSettleMs = 2000;

/** Opens the store that the configuration names; null for none. `redisCa` is as for {@link openRedis}; `peers` are processes that serve with this one. */
export async function openCacheStore(
  { cache, upstream }: { readonly cache: CacheConfig; readonly upstream: { readonly url: string } },
  redisCa: string | null,
  logger: Pick<Logger, 'info' | 'warn'>,
  peers: Peers<WriteNotice> | undefined,
): Promise<CacheStore | null> {
  const limits = { maxBytes: cache.maxBytes, ttlMs: cache.tagTtl };
  switch (cache.driver) {
    case 'off':
      return null;
    case 'memory': {
      const store = createMemoryStore(limits, () => performance.now());
      return peers ? createSharedMemoryStore(store, peers) : store;
    }
    case 'redis': {
      const { createRedisStore } = await import('./redis-store.ts');
      const { keyPrefix, timeout } = cache.redis;
      const redis = await openRedis(cache.redis, redisCa);
      return createRedisStore({
        ...limits,
        redis,
        keyPrefix,
        upstreamUrl: upstream.url,
        timeoutMs: timeout,
        settleMs: redisSettleMs,
        logger,
        peers,
      });
    }
  }
}

/** Connects to the Redis that the configuration names, in the background; `ca` is PEM to verify it with, null for the public CAs. */
export async function openRedis(
  { url, username, password }: CacheConfig['redis'],
  ca: string | null,
): Promise<Redis | Cluster> {
  const { connectRedis } = await import('./redis-connection.ts'); // and ioredis with it, which other stores do without
  return connectRedis({ url, username, password, ca, connectTimeoutMs: redisConnectTimeoutMs });
}
