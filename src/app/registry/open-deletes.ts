import type { Logger } from 'pino';
import { openRedis, type SharedRedis } from '../../redis/open.ts';
import { createRedisFreezes, type RedisFreezes } from '../../locks/redis-freezes.ts';
import type { Config } from '../../config/schema/schema.ts';
import { createDeleteLocks } from '../../locks/delete-locks.ts';
import { openRepositoryLocks } from './open-repository-locks.ts';
import type { PemFiles } from '../pem-files.ts';
import { createRepositoryActivity, type RepositoryActivity } from '../../locks/repository-activity.ts';
import { createFreezer, type Freezer, type FreezeMember } from '../../locks/repository-freezer.ts';
import { createRepositoryLocks, type RepositoryLocks } from '../../locks/repository-locks.ts';

/** What a process needs to keep deletes apart from other requests. Outlives a reload. */
export type Deletes = {
  readonly activity: RepositoryActivity;
  /** Lets a delete run alone in its repository, in all processes. */
  readonly locks: RepositoryLocks;
  /** This instance among those that share its Redis; null: it shares none, or another process knows. */
  readonly peers: () => ReturnType<RedisFreezes['peers']> | null;
  /** Left out if another process keeps them. */
  readonly close?: () => Promise<void>;
};

type RedisState = {
  readonly config: Pick<Config, 'cache' | 'upstream'>;
  readonly pem: Pick<PemFiles, 'redisCa'>;
  readonly redis: SharedRedis;
  readonly logger: Pick<Logger, 'warn'>;
};

/** The locks that one process keeps for all. */
export type OpenDeleteLocks = Required<Omit<Deletes, 'activity'>>;

/** Opens the locks of this instance's processes, and of the instances that share its Redis. */
export async function openDeleteLocks(state: RedisState, own: Freezer): Promise<OpenDeleteLocks> {
  const { cache, upstream } = state.config;
  if (cache.driver !== 'redis')
    return {
      locks: createDeleteLocks(createRepositoryLocks(), own),
      peers: () => null,
      close: () => Promise.resolve(),
    };
  const locks = await openRepositoryLocks(state, createRepositoryLocks(), 'deletion');
  const { keyPrefix, timeout, instanceTimeout } = cache.redis;
  const listening = await openRedis(cache.redis, state.pem.redisCa);
  const freezes: RedisFreezes = createRedisFreezes({
    redis: await state.redis.get(),
    listening,
    ...{ keyPrefix, upstreamUrl: upstream.url, timeoutMs: timeout },
    instanceTimeoutMs: instanceTimeout,
    own,
    logger: state.logger,
  });
  await freezes.ready();
  return {
    locks: createDeleteLocks(locks, freezes),
    peers: () => freezes.peers(),
    close: async () => {
      await freezes.close();
      listening.disconnect();
    },
  };
}

/** Opens everything for an instance of one process. */
export async function openOwnDeletes(state: RedisState): Promise<Deletes & OpenDeleteLocks> {
  const activity = createRepositoryActivity();
  const freezer = createFreezer();
  const member: FreezeMember = {
    freeze: (repository, id) => activity.freeze(repository, id, () => freezer.quiet(member, id)),
    thaw: (repository, id) => activity.thaw(repository, id),
  };
  freezer.join(member);
  return { activity, ...(await openDeleteLocks(state, freezer)) };
}
