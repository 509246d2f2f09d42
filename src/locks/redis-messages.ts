import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { RedisInstances } from './redis-instances.ts';
import { within } from '../redis/trust.ts';

/** A message of an instance to the others. */
export type Message = {
  /**
   * `freeze`: let nothing more through to a repository; published repeatedly. `quiet`: its answer. `thaw`: resume.
   * `bye`: the instance ends.
   */
  readonly kind: string;
  readonly id: string;
  readonly repository: string;
  /** When this `freeze`, or the answered one, was published, by its publisher's clock, in milliseconds. */
  readonly at: number;
  readonly from: string;
};

export type RedisMessagesOptions = {
  readonly redis: Redis | Cluster;
  /** Another connection, for reads that block. */
  readonly listening: Redis | Cluster;
  /** The key of the stream. */
  readonly key: string;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  readonly instances: RedisInstances;
  /** The greatest age of a message that is read at the start, in milliseconds. */
  readonly backMs: number;
  readonly onMessage: (message: Message) => void;
};

/** Messages between instances. Uses a stream instead of pub/sub, which deploy/install.sh does not allow its Redis user. */
export type RedisMessages = {
  /** @throws Error when Redis has not accepted it. */
  publish(message: Omit<Message, 'from'>): Promise<void>;
  /** Resolves when everything published before has been read. */
  readonly caughtUp: Promise<void>;
  close(): void;
};

/** How long one read waits at Redis for a message, and the extra time for its answer, in milliseconds. */
const blockMs = 2000;
const silentMs = 1000;
const retryMs = 50;
const maxMessages = 10_000;
const pageMessages = 500;
const streamTtlMs = 60 * 60 * 1000;
/** The longest accepted part of a message. */
const maxPartLength = 1024;

export function createRedisMessages(options: RedisMessagesOptions): RedisMessages {
  const { redis, listening, key, timeoutMs, instances, backMs, onMessage } = options;
  let isClosed = false;
  let last = '';
  let readSinceMs = 0;
  let isUpToDate = false;
  let catchUp = () => {};
  const caughtUp = new Promise<void>((resolve) => (catchUp = resolve));

  const readPage = async () => {
    try {
      return isUpToDate
        ? await within(
            blockMs + silentMs,
            listening.xread('COUNT', pageMessages, 'BLOCK', blockMs, 'STREAMS', key, last),
          )
        : await within(timeoutMs, listening.xread('COUNT', pageMessages, 'STREAMS', key, last));
    } catch (error) {
      // A read that blocks for ever would delay the next one too.
      if (!isClosed && listening.status === 'ready') listening.disconnect(true);
      throw error;
    }
  };
  const read = async (): Promise<void> => {
    // A new list means that Redis has lost data: the ids in its stream may be lower.
    if (last === '' || readSinceMs !== instances.sinceMs()) {
      const { nowMs, sinceMs } = await instances.look();
      last = `${Math.max(0, nowMs - backMs)}-0`;
      readSinceMs = sinceMs;
      isUpToDate = false;
    }
    if (listening.status !== 'ready') throw new Error('not connected');
    const reply = await readPage();
    for (const [entry, fields] of reply?.[0]?.[1] ?? []) {
      last = entry;
      const message = parseMessage(fields);
      if (message !== null) onMessage(message);
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
    publish: async ({ kind, id, repository, at }) => {
      const fields = ['kind', kind, 'id', id, 'repository', repository, 'at', at, 'from', instances.me];
      const added = redis.xadd(key, 'MAXLEN', '~', maxMessages, '*', ...fields);
      await within(timeoutMs, Promise.all([added, redis.pexpire(key, streamTtlMs)]));
    },
    close: () => {
      isClosed = true;
    },
  };
}

function parseMessage(fields: readonly string[]): Message | null {
  const parts = new Map<string, string>();
  for (let i = 0; i + 1 < fields.length; i += 2) parts.set(fields[i] ?? '', fields[i + 1] ?? '');
  const part = (name: string) => parts.get(name) ?? '';
  const message = { kind: part('kind'), id: part('id'), repository: part('repository'), from: part('from') };
  const at = Number(part('at'));
  const isSound =
    Object.values(message).every(({ length }) => length <= maxPartLength) && Number.isFinite(at);
  return isSound && message.from !== '' ? { ...message, at } : null;
}
