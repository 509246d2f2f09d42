import { openRedis } from '../redis/open.ts';
import { createRedisLocks, type RedisLocks, type RedisLocksOptions } from '../locks/redis-locks.ts';
import type { Config } from '../config/schema/schema.ts';
import type { PemFiles } from './pem-files.ts';
import { createRepositoryLocks, type RepositoryLocks } from '../locks/repository-locks.ts';

/** The locks of a front door, which outlive what it is configured to lock. */
export type OpenRepositoryLocks = RepositoryLocks & {
  /** To be called before the first is acquired: nothing is opened for who needs none. */
  prepare(): Promise<void>;
  close(): void;
};

/**
 * Puts them together: those of the processes of this instance, and where instances share a Redis theirs on top.
 * @param own those of this instance; of this process alone when left out
 */
export function openRepositoryLocks(
  {
    config,
    pem,
  }: { readonly config: Pick<Config, 'cache' | 'upstream'>; readonly pem: Pick<PemFiles, 'redisCa'> },
  own: RepositoryLocks = createRepositoryLocks(),
  of: RedisLocksOptions['of'] = 'lock',
): OpenRepositoryLocks {
  const { cache, upstream } = config;
  let shared: RedisLocks | null = null;
  return {
    prepare: async () => {
      if (cache.driver !== 'redis' || shared !== null) return;
      const { keyPrefix, timeout } = cache.redis;
      const redis = await openRedis(cache.redis, pem.redisCa);
      shared = createRedisLocks({ redis, keyPrefix, upstreamUrl: upstream.url, timeoutMs: timeout, of });
    },
    acquire: async (repository, wish) => {
      const untilMs = performance.now() + wish.waitMs;
      const first = await own.acquire(repository, wish);
      if (typeof first === 'string' || shared === null) return first;
      const second = await shared.acquire(repository, { ...wish, waitMs: untilMs - performance.now() });
      if (typeof second === 'string') {
        first.release();
        return second;
      }
      return {
        lost: second.lost,
        isHeld: () => second.isHeld(),
        release: () => {
          second.release();
          first.release();
        },
      };
    },
    close: () => shared?.close(),
  };
}
