import type { Cluster, Redis } from 'ioredis';

/** Which Redis, and how it is used; durations in milliseconds. */
export type RedisConfig = {
  readonly url: string;
  readonly keyPrefix: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly timeout: number;
  readonly instanceTimeout: number;
};

const connectTimeoutMs = 2000;

/** Connects to the Redis that the configuration names, in the background; `ca` is PEM to verify it with, null for the public CAs. */
export async function openRedis(
  { url, username, password }: Pick<RedisConfig, 'url' | 'username' | 'password'>,
  ca: string | null,
): Promise<Redis | Cluster> {
  const { connectRedis } = await import('./connection.ts'); // and ioredis with it, which other stores do without
  return connectRedis({ url, username, password, ca, connectTimeoutMs });
}

/**
 * Calls back with what goes wrong with a connection. Behind that, once it is to be made anew, ioredis tells of commands of its own
 * which that connection did not take: these say nothing.
 */
export function onConnectionError(redis: Redis | Cluster, listener: (error: Error) => void): void {
  redis.on('error', (error: Error) => {
    if (redis.isCluster || redis.status !== 'reconnecting') listener(error);
  });
}

/** One connection for everything in a process that asks short questions. */
export type SharedRedis = {
  /** Gives the connection; the first call opens it. */
  get(): Promise<Redis | Cluster>;
  /** Closes it. To be called when nobody uses it any more. */
  close(): Promise<void>;
};

/** Creates it; the parameters are those of openRedis. */
export function createSharedRedis(config: RedisConfig, ca: string | null): SharedRedis {
  let opened: Promise<Redis | Cluster> | null = null;
  return {
    get: () => (opened ??= openRedis(config, ca)),
    close: async () => (await opened)?.disconnect(),
  };
}
