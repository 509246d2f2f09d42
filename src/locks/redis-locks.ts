import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { LockRefusal, LockWish, RepositoryLock } from './repository-locks.ts';
import { createRedisKeys } from '../redis/keys.ts';
import { within } from '../redis/trust.ts';

export type RedisLocksOptions = {
  readonly redis: Redis | Cluster;
  readonly keyPrefix: string;
  /** Instances lock each other out when they guard the same upstream. */
  readonly upstreamUrl: string;
  /** How long anything waits for Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** What they are of: writes of immutable tags, or deletes. */
  readonly of: 'lock' | 'deletion';
};

/** Locks that all instances share; one is to be asked for by one at a time in each of them. */
export type RedisLocks = {
  acquire(repository: string, wish: Omit<LockWish, 'maxWaiting'>): Promise<RepositoryLock | LockRefusal>;
};

/** How long a lock outlives an instance that died with it, in milliseconds. */
const ttlMs = 10_000;
/** How often it is prolonged while it is held, in milliseconds. */
const renewMs = 3000;
/** So much earlier than Redis its holder takes it for lost, when it could not be prolonged, in milliseconds. */
const marginMs = 1000;
/** How often it is looked whether it is free, at random within one and two times this, in milliseconds. */
const pollMs = 50;
/** How long a connection that is being made is waited for, in milliseconds. */
const connectMs = 1000;

/** KEYS lock; ARGV token ttlMs. Gives whether it was still the token's. */
const renewScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;
/** KEYS lock; ARGV token. */
const releaseScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/** Locks in Redis: a key with a random word, which only its holder prolongs and deletes, and which ends by itself. */
export function createRedisLocks({
  redis,
  keyPrefix,
  upstreamUrl,
  timeoutMs,
  of,
}: RedisLocksOptions): RedisLocks {
  const keys = createRedisKeys(keyPrefix, upstreamUrl);
  redis.setMaxListeners(0); // each lock that is held listens
  const ask = <T>(question: () => Promise<T>): Promise<T> => within(timeoutMs, question());
  const drop = (key: string, token: string) => {
    ask(() => redis.eval(releaseScript, 1, key, token)).catch(() => {}); // it ends by itself
  };

  const hold = (key: string, token: string, askedAtMs: number): RepositoryLock => {
    const losing = new AbortController();
    let isOver = false;
    const end = () => {
      isOver = true;
      clearInterval(renewing);
      clearTimeout(running);
      redis.off('ready', renew);
    };
    const lose = () => {
      if (isOver) return;
      end();
      losing.abort();
    };
    /** From when it was asked on: Redis counts from a little later. */
    const run = (fromMs: number) =>
      setTimeout(lose, Math.max(0, fromMs + ttlMs - marginMs - performance.now())).unref();
    let running = run(askedAtMs);
    const prolong = async (): Promise<void> => {
      const nowMs = performance.now();
      const kept = await ask(() => redis.eval(renewScript, 1, key, token, ttlMs));
      if (kept !== 1) lose();
      if (isOver) return;
      clearTimeout(running);
      running = run(nowMs);
    };
    const renew = () => void prolong().catch(() => {}); // once more a little later, or it is lost
    const renewing = setInterval(renew, renewMs).unref();
    // One that was started anew has forgotten it.
    redis.on('ready', renew);
    return {
      lost: losing.signal,
      isHeld: () =>
        prolong().then(
          () => !isOver,
          () => false,
        ),
      release: () => {
        if (isOver) return;
        end();
        drop(key, token);
      },
    };
  };

  const acquire: RedisLocks['acquire'] = async (repository, { waitMs, signal }) => {
    const key = keys[of](repository);
    const token = randomBytes(16).toString('hex');
    const untilMs = performance.now() + waitMs;
    try {
      if (redis.status !== 'ready') await once(redis, 'ready', { signal: AbortSignal.timeout(connectMs) });
      for (;;) {
        if (signal.aborted) return 'gone';
        const askedAtMs = performance.now();
        if ((await ask(() => redis.set(key, token, 'PX', ttlMs, 'NX'))) === 'OK')
          return hold(key, token, askedAtMs);
        if (performance.now() >= untilMs) return 'late';
        await delay(pollMs * (1 + Math.random()));
      }
    } catch {
      // It may have been carried out all the same.
      drop(key, token);
      return 'unavailable';
    }
  };

  return { acquire };
}
