import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { RedisInstances } from './redis-instances.ts';
import { within } from '../redis/trust.ts';

/** What an instance says to the others. */
export type News = {
  /** `freeze`: let nothing more through to a repository; again and again. `quiet`: the answer. `thaw`: go on. `bye`: an end. */
  readonly kind: string;
  readonly id: string;
  readonly repository: string;
  /** When the `freeze` was said that this is, or answers, by the clock of who said it, in milliseconds. */
  readonly at: number;
  readonly from: string;
};

export type RedisNewsOptions = {
  readonly redis: Redis | Cluster;
  /** Another connection, on which it is listened. */
  readonly listening: Redis | Cluster;
  /** The key of the stream. */
  readonly key: string;
  /** How long anything waits for Redis, in milliseconds. */
  readonly timeoutMs: number;
  readonly instances: RedisInstances;
  /** How far back what was said before counts, in milliseconds. */
  readonly backMs: number;
  readonly onNews: (news: News) => void;
};

/** What instances tell each other: a stream, and not pub/sub, which deploy/install.sh does not allow its user. */
export type RedisNews = {
  /** @throws Error when Redis has not taken it. */
  tell(news: Omit<News, 'from'>): Promise<void>;
  /** Resolves when all that was said before has been read. */
  readonly caughtUp: Promise<void>;
  close(): void;
};

/** How long one look for news waits at Redis, and how much longer its answer may take, in milliseconds. */
const blockMs = 2000;
const silentMs = 1000;
const retryMs = 50;
const maxNews = 10_000;
const pageNews = 500;
const streamTtlMs = 60 * 60 * 1000;
/** The longest part of a message that is believed. */
const maxPartLength = 1024;

export function createRedisNews(options: RedisNewsOptions): RedisNews {
  const { redis, listening, key, timeoutMs, instances, backMs, onNews } = options;
  let isClosed = false;
  let last = '';
  let readSinceMs = 0;
  let isUpToDate = false;
  let catchUp = () => {};
  const caughtUp = new Promise<void>((resolve) => (catchUp = resolve));

  const ask = async () => {
    try {
      return isUpToDate
        ? await within(
            blockMs + silentMs,
            listening.xread('COUNT', pageNews, 'BLOCK', blockMs, 'STREAMS', key, last),
          )
        : await within(timeoutMs, listening.xread('COUNT', pageNews, 'STREAMS', key, last));
    } catch (error) {
      // One that is blocked for ever would hold up the next question, too.
      if (!isClosed && listening.status === 'ready') listening.disconnect(true);
      throw error;
    }
  };
  const read = async (): Promise<void> => {
    // A list that has begun anew is the sign of a Redis that has lost things: the numbers in its stream may be lower.
    if (last === '' || readSinceMs !== instances.sinceMs()) {
      const { nowMs, sinceMs } = await instances.look();
      last = `${Math.max(0, nowMs - backMs)}-0`;
      readSinceMs = sinceMs;
      isUpToDate = false;
    }
    if (listening.status !== 'ready') throw new Error('not connected');
    const reply = await ask();
    for (const [entry, fields] of reply?.[0]?.[1] ?? []) {
      last = entry;
      const news = readNews(fields);
      if (news !== null) onNews(news);
    }
    if (reply !== null) return;
    isUpToDate = true;
    catchUp();
  };
  const listen = async (): Promise<void> => {
    while (!isClosed) {
      try {
        await read();
      } catch {
        await delay(retryMs, undefined, { ref: false });
      }
    }
  };
  void listen();

  return {
    caughtUp,
    tell: async ({ kind, id, repository, at }) => {
      const fields = ['kind', kind, 'id', id, 'repository', repository, 'at', at, 'from', instances.me];
      const told = redis.xadd(key, 'MAXLEN', '~', maxNews, '*', ...fields);
      await within(timeoutMs, Promise.all([told, redis.pexpire(key, streamTtlMs)]));
    },
    close: () => {
      isClosed = true;
    },
  };
}

function readNews(fields: readonly string[]): News | null {
  const parts = new Map<string, string>();
  for (let i = 0; i + 1 < fields.length; i += 2) parts.set(fields[i] ?? '', fields[i + 1] ?? '');
  const part = (name: string) => parts.get(name) ?? '';
  const news = { kind: part('kind'), id: part('id'), repository: part('repository'), from: part('from') };
  const at = Number(part('at'));
  const isSound = Object.values(news).every(({ length }) => length <= maxPartLength) && Number.isFinite(at);
  return isSound && news.from !== '' ? { ...news, at } : null;
}
