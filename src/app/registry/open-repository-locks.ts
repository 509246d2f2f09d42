import type { SharedRedis } from '../../redis/open.ts';
import { createRedisLocks, type RedisLocksOptions } from '../../locks/redis-locks.ts';
import type { Config } from '../../config/schema/schema.ts';
import { createRepositoryLocks, type RepositoryLocks } from '../../locks/repository-locks.ts';

/**
 * Opens the locks of this instance's processes and, with a shared Redis, those of all instances on top.
 * @param own the locks of this instance; left out: of this process alone
 */
export async function openRepositoryLocks(
  {
    config: { cache, upstream },
    redis,
  }: { readonly config: Pick<Config, 'cache' | 'upstream'>; readonly redis: SharedRedis },
  own: RepositoryLocks = createRepositoryLocks(),
  of: RedisLocksOptions['of'] = 'lock',
): Promise<RepositoryLocks> {
  if (cache.driver !== 'redis') return own;
  const { keyPrefix, timeout } = cache.redis;
  const shared = createRedisLocks({
    ...{ redis: await redis.get(), keyPrefix, upstreamUrl: upstream.url },
    timeoutMs: timeout,
    of,
  });
  return {
    acquire: async (repository, wish) => {
      const untilMs = performance.now() + wish.waitMs;
      const first = await own.acquire(repository, wish);
      if (typeof first === 'string') return first;
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
  };
}
