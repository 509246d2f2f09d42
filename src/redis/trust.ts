import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { RedisKeys } from './keys.ts';

export type RedisTrustOptions = {
  readonly redis: Redis | Cluster;
  readonly keys: RedisKeys;
  /** How long anything waits for Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** For how long Redis has to answer before it is trusted, in milliseconds: every other instance has found it by then. */
  readonly settleMs: number;
  /** What Redis is to be told when it is back; may reject. */
  readonly onReturn: () => Promise<void>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
};

/** Whether Redis may be used, and the one way to use it. */
export type RedisTrust = {
  /** Whether Redis answers: it is to be told of writes. */
  answers(): boolean;
  /** Whether what it answers may be believed. */
  isTrusted(): boolean;
  /** Changes whenever trust ends: an answer that was asked for before is not to be believed. */
  losses(): number;
  /** Asks within the timeout. Any failure but a full Redis ends the trust. @throws Error after that. */
  ask<T>(question: () => Promise<T>): Promise<T>;
  /** Ends the trust for a reason that another process has found. */
  lose(reason: string): void;
  close(): void;
};

/** How often Redis is asked whether it is alive, and brought back into use, in milliseconds. */
const watchMs = 500;
/** A connection that is silent for this long is replaced: the one at its other end may have gone without a word. */
const silentMs = 1000;
/** How often in a row a full Redis must be found to have room before it is said, since it fills up again at once. */
const roomyTurns = 4;

/**
 * Redis is lost, settling or trusted.
 *
 * Any failure, a late answer included, loses it at once, since a write's word may have been lost in it; then nothing
 * waits for it. As soon as it answers again the epoch is deleted, so that nobody believes what was stored before, and
 * from then on it is told of writes. It is believed only when it has answered for `settleMs`: an instance that finds it
 * later, after a restart or a failover, takes writes meanwhile that Redis does not hear of. A new instance begins likewise.
 */
export function createRedisTrust({
  redis,
  keys,
  timeoutMs,
  settleMs,
  onReturn,
  logger,
}: RedisTrustOptions): RedisTrust {
  let state: 'lost' | 'settling' | 'trusted' = 'lost';
  let losses = 0;
  let isReturning = false;
  let turnsRoomy = 0;
  let trouble: 'lost' | 'full' | null = null;
  let connectionError: string | null = null;
  let closed = false;

  const lose = (reason: string) => {
    const wasLost = state === 'lost';
    state = 'lost';
    if (closed) return;
    if (trouble !== 'lost') {
      trouble = 'lost';
      logger.warn({ reason }, 'Redis cannot be used: the cache is passed by until it is back');
    }
    if (wasLost) return;
    losses += 1;
    void comeBack();
  };

  const fill = (reason: string) => {
    turnsRoomy = 0;
    if (trouble !== null) return;
    trouble = 'full';
    logger.warn({ reason }, 'Redis is full: nothing new is cached until it has room');
  };

  const ask: RedisTrust['ask'] = async (question) => {
    try {
      return await within(timeoutMs, question());
    } catch (error) {
      const { message } = error as Error;
      // A full Redis keeps its word: it only stores nothing new.
      if (isFull(message)) fill(message);
      else lose(message);
      if (error instanceof ForeignAnswerError) redis.disconnect(true);
      throw error;
    }
  };

  const comeBack = async () => {
    if (closed || isReturning || redis.status !== 'ready') return;
    isReturning = true;
    try {
      await within(timeoutMs + silentMs, redis.del(keys.epoch));
      state = 'settling';
    } catch (error) {
      lose((error as Error).message);
      if (error instanceof LateError) redis.disconnect(true);
      return;
    } finally {
      isReturning = false;
    }
    const before = losses;
    try {
      // Once more, for the writes of which it was not told because that answer was still on its way.
      await ask(() => redis.del(keys.epoch));
      await onReturn();
      await delay(settleMs, undefined, { ref: false });
      // The writes of which others did not tell it, because they had not found it yet.
      if (losses === before) await ask(() => redis.del(keys.epoch));
    } catch {
      return;
    }
    if (losses !== before) return;
    state = 'trusted';
    if (trouble === 'lost') {
      trouble = null;
      logger.info('Redis is back: the cache is in use again');
    }
  };

  /** Refused for as long as Redis is full. */
  const lookForRoom = async () => {
    await ask(() => redis.set(keys.probe, '', 'PX', watchMs));
    turnsRoomy += 1;
    if (turnsRoomy < roomyTurns || trouble !== 'full') return;
    trouble = null;
    logger.info('Redis has room again: the cache is in use again');
  };

  const watch = async () => {
    if (state === 'lost') await comeBack();
    else if (trouble === 'full') await lookForRoom();
    else await ask(() => redis.exists(keys.epoch));
  };

  let timer: NodeJS.Timeout;
  const scheduleWatch = () => {
    timer = setTimeout(() => {
      void watch()
        .catch(() => {}) // it has been noted by whoever asked
        .finally(() => {
          if (!closed) scheduleWatch();
        });
    }, watchMs).unref();
  };
  redis.on('error', (error: Error) => (connectionError = error.message));
  redis.on('close', () => lose(connectionError ?? 'the connection was closed'));
  // In a cluster: a node has gone.
  redis.on('-node', () => lose(connectionError ?? 'the connection to a node was closed'));
  redis.on('ready', () => {
    connectionError = null;
    void comeBack();
  });
  scheduleWatch();

  return {
    answers: () => state !== 'lost',
    isTrusted: () => state === 'trusted',
    losses: () => losses,
    ask,
    lose,
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** No answer came in time. */
export class LateError extends Error {}

/** Something answers in Redis's place, or gives one question the answer to another: nothing on this connection is to be believed. */
export class ForeignAnswerError extends Error {
  constructor() {
    super('it does not answer as Redis does');
  }
}

function isFull(message: string): boolean {
  return /(^|\s)-?OOM\s/.test(message);
}

/** The same, or an error when it takes longer than so many milliseconds. @throws Error also as the promise does. */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // After the timer one more look at the sockets: an answer that is there already was not late, this process was.
    const late = () => setImmediate(() => reject(new LateError(`no answer within ${ms} ms`)));
    const timer = setTimeout(late, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
