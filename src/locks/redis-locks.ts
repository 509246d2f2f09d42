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
  /** The upstream that they guard: only instances with the same one share locks. */
  readonly upstreamUrl: string;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** What the locks are for: writes of immutable tags, deletes, or orders for a certificate (by its hosts). */
  readonly of: 'lock' | 'deletion' | 'certificate';
};

/** Locks that all instances share. Within an instance, acquire each of them by one request at a time. */
export type RedisLocks = {
  acquire(repository: string, wish: Omit<LockWish, 'maxWaiting'>): Promise<RepositoryLock | LockRefusal>;
};

/** How long a lock outlives an instance that died with it, in milliseconds. */
const ttlMs = 10_000;
/** How often it is prolonged while it is held, in milliseconds. */
const renewMs = 3000;
/** How much earlier than in Redis a lock that could not be prolonged counts as lost for its holder, in milliseconds. */
const marginMs = 1000;
/** How often a busy lock is tried, at random between one and two times this, in milliseconds. */
const pollMs = 50;
/** How long to wait for a connection that is being made, in milliseconds. */
const connectMs = 1000;

/** KEYS lock; ARGV token ttlMs. Returns whether the token still holds it. */
const renewScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;
/** KEYS lock; ARGV token. */
const releaseScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/** Creates locks in Redis: a key with a random word, which only its holder prolongs and deletes, and which expires. */
export function createRedisLocks({
  redis,
  keyPrefix,
  upstreamUrl,
  timeoutMs,
  of,
}: RedisLocksOptions): RedisLocks {
  const keys = createRedisKeys(keyPrefix, upstreamUrl);
  redis.setMaxListeners(0); // each held lock has a listener
  const ask = <T>(question: () => Promise<T>): Promise<T> => within(timeoutMs, question());
  const drop = (key: string, token: string) => {
    ask(() => redis.eval(releaseScript, 1, key, token)).catch(() => {}); // it expires
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
    /** Counts from the request on: Redis counts from a little later. */
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
    const renew = () => void prolong().catch(() => {}); // retried a little later, or lost
    const renewing = setInterval(renew, renewMs).unref();
    // A restarted Redis has forgotten it.
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
      // Redis may have executed it all the same.
      drop(key, token);
      return 'unavailable';
    }
  };

  return { acquire };
}
