import type { Cluster, Redis } from 'ioredis';

/** The configuration of Redis; durations in milliseconds. */
export type RedisConfig = {
  readonly url: string;
  readonly keyPrefix: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly timeout: number;
  readonly instanceTimeout: number;
};

const connectTimeoutMs = 2000;

/** Connects to the configured Redis in the background; `ca` is PEM to verify it with, null for the public CAs. */
export async function openRedis(
  { url, username, password }: Pick<RedisConfig, 'url' | 'username' | 'password'>,
  ca: string | null,
): Promise<Redis | Cluster> {
  const { connectRedis } = await import('./connection.ts'); // loads ioredis only here
  return connectRedis({ url, username, password, ca, connectTimeoutMs });
}

/**
 * Calls back with the errors of a connection. After an error, ioredis also reports its own commands that were not sent;
 * these are ignored.
 */
export function onConnectionError(redis: Redis | Cluster, listener: (error: Error) => void): void {
  redis.on('error', (error: Error) => {
    if (redis.isCluster || redis.status !== 'reconnecting') listener(error);
  });
}

/** The connection that everything in a process shares for short commands. */
export type SharedRedis = {
  /** Returns the connection; the first call opens it. */
  get(): Promise<Redis | Cluster>;
  /** Closes it. Call it when nobody uses it any more. */
  close(): Promise<void>;
};

/** Takes the parameters of openRedis. */
export function createSharedRedis(config: RedisConfig, ca: string | null): SharedRedis {
  let opened: Promise<Redis | Cluster> | null = null;
  return {
    get: () => (opened ??= openRedis(config, ca)),
    close: async () => (await opened)?.disconnect(),
  };
}
