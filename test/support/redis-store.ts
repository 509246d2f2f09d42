import { connectRedis } from '../../src/redis/connection.ts';
import { createRedisStore, type RedisStoreOptions } from '../../src/cache/stores/redis-store.ts';
import type { CacheStore } from '../../src/cache/stores/store.ts';
import { until } from './redis.ts';

export type TestStore = {
  readonly store: CacheStore;
  /** Its log: level and message. */
  readonly log: readonly { level: 'info' | 'warn'; msg: string; reason?: unknown }[];
  /** Waits until it uses Redis. */
  readonly trusted: () => Promise<void>;
  /** Waits until it does not use Redis. */
  readonly lost: () => Promise<void>;
};

const probe = { scope: 'probe', item: 'probe', variant: '' };

/** Opens one instance's store, with defaults for what the test does not set. */
export function openTestStore(options: Partial<RedisStoreOptions> & { address?: string }): TestStore {
  const log: { level: 'info' | 'warn'; msg: string; reason?: unknown }[] = [];
  const note = (level: 'info' | 'warn') => (fields: unknown, msg?: string) => {
    if (typeof fields === 'string') log.push({ level, msg: fields });
    else log.push({ level, msg: msg ?? '', ...(fields as { reason?: unknown }) });
  };
  const redis =
    options.redis ??
    connectRedis({
      url: `redis://${options.address ?? ''}`,
      username: null,
      password: null,
      ca: null,
      connectTimeoutMs: 2000,
    });
  const opened = createRedisStore({
    redis,
    keyPrefix: 'test:',
    upstreamUrl: 'http://127.0.0.1:5000',
    maxBytes: 1024 * 1024,
    ttlMs: 60_000,
    // Generous, since the test machine is busy; tests of timeouts set their own.
    timeoutMs: 1000,
    settleMs: 0,
    logger: { info: note('info'), warn: note('warn') },
    ...options,
  });
  const store: CacheStore = {
    ...opened,
    close: async () => {
      await opened.close();
      redis.disconnect();
    },
  };
  const isTrusted = async () => (await store.lookup(probe)).kind !== 'unavailable';
  return {
    store,
    log,
    trusted: () => until('the store uses Redis', isTrusted),
    lost: () => until('the store does not use Redis', async () => !(await isTrusted())),
  };
}
