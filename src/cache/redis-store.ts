import { randomBytes } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import { beginWriteScript, endWriteScript, fillScript, lookupScript, type Script } from './redis-scripts.ts';
import { readRedisStats } from './redis-admin.ts';
import { createRedisKeys, runScript } from './redis-keys.ts';
import type { CacheStore, Change, Slot, StoreLimits } from './store.ts';

export type RedisStoreOptions = StoreLimits & {
  readonly redis: Redis | Cluster;
  readonly keyPrefix: string;
  /** What the entries are copies of: upstreams do not share entries. */
  readonly upstreamUrl: string;
  /** How long anything waits for Redis, in milliseconds. */
  readonly timeoutMs: number;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
};

/** How often Redis is looked after: asked whether it is alive, and brought back into use, in milliseconds. */
const watchMs = 500;

/**
 * The store that several instances share.
 *
 * Redis is trusted or it is not. Any failure, a late answer included, ends the trust at once, since a write's word may
 * have been lost in it; until it is renewed nothing waits for Redis at all. Trust is renewed by deleting the epoch, so
 * that nothing stored before is believed by anyone, and that is also how a new instance begins.
 */
export function createRedisStore(options: RedisStoreOptions): CacheStore {
  const { redis, maxBytes, ttlMs, timeoutMs, logger } = options;
  const keys = createRedisKeys(options.keyPrefix, options.upstreamUrl);

  let trusted = false;
  /** Raised whenever trust ends: an answer that was asked for before is not believed. */
  let distrusts = 0;
  /** Writes that Redis was not told of because it was not trusted. */
  let untoldWrites = 0;
  let troubleLogged = false;
  let closed = false;
  redis.on('error', () => {}); // every failure is noticed where a command fails, or by the watch
  redis.on('close', () => distrust(new Error('the connection was closed')));

  const distrust = (error: Error) => {
    trusted = false;
    distrusts += 1;
    if (troubleLogged || closed) return;
    troubleLogged = true;
    logger.warn({ reason: error.message }, 'Redis cannot be used: the cache is passed by until it is back');
  };

  /** Runs a script within the timeout; any failure ends the trust. @throws Error after that. */
  const run = async (script: Script, names: string[], args: (string | Buffer)[]): Promise<unknown> => {
    try {
      return await withTimeout(runScript(redis, script, names, args), timeoutMs);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      // A full Redis keeps its word: it only stores nothing new.
      if (!isFull(failure)) distrust(failure);
      else if (!troubleLogged) {
        troubleLogged = true;
        logger.warn({ reason: failure.message }, 'Redis is full: nothing new is cached until it has room');
      }
      throw failure;
    }
  };

  const renewTrust = async () => {
    const before = { distrusts, untoldWrites };
    await withTimeout(redis.del(keys.epoch), timeoutMs);
    // Otherwise the epoch may have ended before that write did: the next turn of the watch tries again.
    trusted = distrusts === before.distrusts && untoldWrites === before.untoldWrites;
  };

  const watch = async () => {
    try {
      if (trusted) await withTimeout(redis.exists(keys.epoch), timeoutMs);
      else if (redis.status === 'ready') await renewTrust();
      if (!trusted || !troubleLogged) return;
      // Refused for as long as Redis is full.
      await withTimeout(redis.set(keys.probe, '', 'PX', watchMs), timeoutMs);
      troubleLogged = false;
      logger.info('Redis is back: the cache is in use again');
    } catch (error) {
      if (!isFull(error as Error)) distrust(error as Error);
    }
  };
  let watchTimer: NodeJS.Timeout;
  const scheduleWatch = () => {
    watchTimer = setTimeout(() => {
      void watch().finally(() => {
        if (!closed) scheduleWatch();
      });
    }, watchMs).unref();
  };
  redis.on('ready', () => void watch());
  scheduleWatch();

  const keysOf = (slot: Slot) => [keys.epoch, keys.scope(slot.scope), keys.entry(slot), keys.index];

  const write = async (script: Script, { id, scope, items }: Change): Promise<boolean> => {
    if (!trusted) {
      untoldWrites += 1;
      return false;
    }
    try {
      await run(script, [keys.scope(scope)], [nonce(), id, ...(items === 'all' ? [] : items)]);
      return true;
    } catch {
      return false;
    }
  };

  return {
    lookup: async (slot) => {
      if (!trusted) return { kind: 'unavailable' };
      const before = distrusts;
      try {
        const [ticket, value] = (await run(lookupScript, keysOf(slot), [nonce(), slot.item])) as [
          Buffer,
          Buffer | null,
        ];
        if (distrusts !== before) return { kind: 'unavailable' };
        return value === null
          ? { kind: 'absent', ticket: ticket.toString() }
          : { kind: 'found', value, ticket: ticket.toString() };
      } catch {
        return { kind: 'unavailable' };
      }
    },
    fill: async (slot, ticket, value, ageMs) => {
      const leftMs = Math.floor(ttlMs - ageMs);
      if (!trusted || leftMs <= 0) return { stored: false, evicted: 0 };
      try {
        const args = [ticket, slot.item, value, String(leftMs), String(maxBytes)];
        const [stored, evicted] = (await run(fillScript, keysOf(slot), args)) as [number, number];
        return { stored: stored === 1, evicted };
      } catch {
        return { stored: false, evicted: 0 };
      }
    },
    beginWrite: (change) => write(beginWriteScript, change),
    endWrite: (change) => write(endWriteScript, change),
    stats: () => readRedisStats(redis, keys).catch(() => null),
    close: () => {
      closed = true;
      clearTimeout(watchTimer);
      redis.disconnect();
      return Promise.resolve();
    },
  };
}

function nonce(): string {
  return randomBytes(8).toString('hex');
}

function isFull(error: Error): boolean {
  return /(^|\s)-?OOM\s/.test(error.message);
}

function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    // After the timer one more look at the sockets: an answer that is there already was not late, this process was.
    const late = () => setImmediate(() => reject(new Error(`no answer within ${timeoutMs} ms`)));
    const timer = setTimeout(late, timeoutMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
