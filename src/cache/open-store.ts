import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import { OperatorError } from '../operator-error.ts';
import { readRegularFile } from '../regular-file.ts';
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
    readonly ca: string | null;
    readonly timeout: number;
  };
  readonly maxBytes: number;
  readonly tagTtl: number;
};

const redisConnectTimeoutMs = 2000;
/** Twice what another instance needs to notice that Redis is back: a pause, an attempt to connect, a turn of the watch. */
const redisSettleMs = 2000;

/** Opens the store that the configuration names; null for none. `peers` are processes that serve with this one. @throws OperatorError when the Redis CA cannot be read. */
export async function openCacheStore(
  { cache, upstream }: { readonly cache: CacheConfig; readonly upstream: { readonly url: string } },
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
      const redis = await openRedis(cache.redis);
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

/** Connects to the Redis that the configuration names, in the background. @throws OperatorError when its CA cannot be read. */
export async function openRedis({
  url,
  username,
  password,
  ca,
}: CacheConfig['redis']): Promise<Redis | Cluster> {
  const { connectRedis } = await import('./redis-connection.ts'); // and ioredis with it, which other stores do without
  return connectRedis({
    url,
    username,
    password,
    ca: ca === null ? null : await loadCa(ca),
    connectTimeoutMs: redisConnectTimeoutMs,
  });
}

async function loadCa(path: string): Promise<string> {
  let pem: string;
  try {
    pem = await readRegularFile(path);
  } catch (error) {
    throw new OperatorError(
      `Cannot read ${path}: ${(error as Error).message}; set cache.redis.ca to the PEM file of the CA that signed Redis's certificate.`,
    );
  }
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  // Node would take it for no CA at all, and trust every public one.
  throw new OperatorError(
    `${path} holds no certificate in PEM form: set cache.redis.ca to a file that does.`,
  );
}
