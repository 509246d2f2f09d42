import type { Logger } from 'pino';
import { openRedis, type SharedRedis } from '../redis/open.ts';
import { createRedisFreezes, type RedisFreezes } from '../locks/redis-freezes.ts';
import type { Config } from '../config/schema/schema.ts';
import { createDeleteTurns } from '../locks/delete-turns.ts';
import { openRepositoryLocks } from './open-repository-locks.ts';
import type { PemFiles } from './pem-files.ts';
import { createRepositoryActivity, type RepositoryActivity } from '../locks/repository-activity.ts';
import { createFreezer, type Freezer, type FreezeMember } from '../locks/repository-freezer.ts';
import { createRepositoryLocks, type RepositoryLocks } from '../locks/repository-locks.ts';

/** What a process that serves needs to keep deletes apart from the rest; it outlives a reload. */
export type Deletes = {
  readonly activity: RepositoryActivity;
  /** Gives a delete its repository for itself, in all processes. */
  readonly turns: RepositoryLocks;
  /** Left out where another process keeps them. */
  readonly close?: () => Promise<void>;
};

type RedisState = {
  readonly config: Pick<Config, 'cache' | 'upstream'>;
  readonly pem: Pick<PemFiles, 'redisCa'>;
  readonly redis: SharedRedis;
  readonly logger: Pick<Logger, 'warn'>;
};

/** The deletes of a front door, with one place in it that knows of all. */
export type OpenDeleteTurns = { readonly turns: RepositoryLocks; readonly close: () => Promise<void> };

/** Puts the turns together: those of the processes of this instance, and where instances share a Redis theirs, too. */
export async function openDeleteTurns(state: RedisState, own: Freezer): Promise<OpenDeleteTurns> {
  const { cache, upstream } = state.config;
  if (cache.driver !== 'redis')
    return { turns: createDeleteTurns(createRepositoryLocks(), own), close: () => Promise.resolve() };
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
    turns: createDeleteTurns(locks, freezes),
    close: async () => {
      await freezes.close();
      listening.disconnect();
    },
  };
}

/** Puts it together for a front door of one process. */
export async function openOwnDeletes(state: RedisState): Promise<Deletes & OpenDeleteTurns> {
  const activity = createRepositoryActivity();
  const freezer = createFreezer();
  const member: FreezeMember = {
    freeze: (repository, id) => activity.freeze(repository, id, () => freezer.quiet(member, id)),
    thaw: (repository, id) => activity.thaw(repository, id),
  };
  freezer.join(member);
  return { activity, ...(await openDeleteTurns(state, freezer)) };
}
