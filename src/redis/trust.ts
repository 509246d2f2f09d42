import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { RedisKeys } from './keys.ts';
import { onConnectionError } from './open.ts';

export type RedisTrustOptions = {
  readonly redis: Redis | Cluster;
  readonly keys: RedisKeys;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** How long Redis must answer before it is trusted, in milliseconds: every other instance has found it by then. */
  readonly settleMs: number;
  /** Runs when Redis is back, before it is trusted; may reject. */
  readonly onRecovered: () => Promise<void>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
};

/** Decides whether Redis may be used; all commands go through it. */
export type RedisTrust = {
  /** Whether Redis answers, trusted or not: writes are sent to it. */
  isReachable(): boolean;
  /** Whether its answers are trusted. */
  isTrusted(): boolean;
  /** How often trust has ended. Do not trust an answer to a command from before the last time. */
  losses(): number;
  /** Runs a command within the timeout. Any failure but a full Redis ends the trust. @throws Error after that. */
  run<T>(command: () => Promise<T>): Promise<T>;
  /** Ends the trust. */
  lose(reason: string): void;
  close(): void;
};

/** How often Redis is probed, and its recovery tried, in milliseconds. */
const probeMs = 500;
/** A connection that is silent for longer is replaced: its other end may have gone without a sign. */
const silentMs = 1000;
/** How many probes in a row must find room before a full Redis counts as having room: it may fill up again at once. */
const roomyProbes = 4;

/**
 * Redis is lost, settling or trusted.
 *
 * Any failure, a late answer included, loses it at once, since it may have kept Redis from hearing of a write; then
 * nothing waits for it. As soon as it answers again the epoch is deleted, which invalidates everything stored before,
 * and writes are sent to it again. It is trusted only after it has answered for `settleMs`: until then, another
 * instance that has not found it yet may accept writes that Redis does not learn of. A new instance begins as lost.
 */
export function createRedisTrust(options: RedisTrustOptions): RedisTrust {
  const { redis, keys, timeoutMs, settleMs, onRecovered } = options;
  const trouble = createTroubleLog(options.logger);
  let state: 'lost' | 'settling' | 'trusted' = 'lost';
  let losses = 0;
  let isRecovering = false;
  let isClosed = false;

  const lose = (reason: string) => {
    const wasLost = state === 'lost';
    state = 'lost';
    if (isClosed) return;
    trouble.lost(reason);
    if (wasLost) return;
    losses += 1;
    void comeBack();
  };
  const run: RedisTrust['run'] = async (command) => {
    try {
      return await within(timeoutMs, command());
    } catch (error) {
      const { message } = error as Error;
      // A full Redis still answers; it only stores nothing new.
      if (isFull(message)) trouble.full(message);
      else lose(message);
      if (error instanceof ForeignAnswerError) redis.disconnect(true);
      throw error;
    }
  };

  const comeBack = async () => {
    if (isClosed || isRecovering || redis.status !== 'ready') return;
    isRecovering = true;
    const isReached = await reach(options, lose).finally(() => (isRecovering = false));
    if (!isReached) return;
    state = 'settling';
    if (!(await settle())) return;
    state = 'trusted';
    trouble.back();
  };
  /** Returns whether Redis has answered throughout. */
  const settle = async (): Promise<boolean> => {
    const before = losses;
    try {
      // Once more, for writes that were not sent to it before that answer came.
      await run(() => redis.del(keys.epoch));
      await onRecovered();
      await delay(settleMs, undefined, { ref: false });
      // For writes that others did not send because they had not found Redis yet.
      if (losses === before) await run(() => redis.del(keys.epoch));
    } catch {
      return false;
    }
    return losses === before;
  };

  const probe = async () => {
    if (state === 'lost') await comeBack();
    else if (!trouble.isFull()) await run(() => redis.exists(keys.epoch));
    // Redis refuses it while it is full.
    else await run(() => redis.set(keys.probe, '', 'PX', probeMs)).then(() => trouble.roomFound());
  };
  onConnectionChange(redis, { lose, comeBack });
  const stopProbing = repeat(probeMs, probe);

  return {
    isReachable: () => state !== 'lost',
    isTrusted: () => state === 'trusted',
    losses: () => losses,
    run,
    lose,
    close: () => {
      isClosed = true;
      stopProbing();
    },
  };
}

/** Deletes the epoch; false: Redis is lost. Replaces a silent connection. */
async function reach(
  { redis, keys, timeoutMs }: RedisTrustOptions,
  lose: RedisTrust['lose'],
): Promise<boolean> {
  try {
    await within(timeoutMs + silentMs, redis.del(keys.epoch));
    return true;
  } catch (error) {
    lose((error as Error).message);
    if (error instanceof LateError) redis.disconnect(true);
    return false;
  }
}

/** Logs each incident once, and its end. */
type TroubleLog = {
  lost(reason: string): void;
  back(): void;
  full(reason: string): void;
  isFull(): boolean;
  /** A probe has found room. */
  roomFound(): void;
};

function createTroubleLog(logger: RedisTrustOptions['logger']): TroubleLog {
  let trouble: 'lost' | 'full' | null = null;
  /** Probes in a row that have found room. */
  let roomy = 0;
  return {
    lost: (reason) => {
      if (trouble === 'lost') return;
      trouble = 'lost';
      logger.warn({ reason }, 'Redis cannot be used: the cache is bypassed until it is back');
    },
    back: () => {
      if (trouble !== 'lost') return;
      trouble = null;
      logger.info('Redis is back: the cache is in use again');
    },
    full: (reason) => {
      roomy = 0;
      if (trouble !== null) return;
      trouble = 'full';
      logger.warn({ reason }, 'Redis is full: nothing new is cached until it has room');
    },
    isFull: () => trouble === 'full',
    roomFound: () => {
      roomy += 1;
      if (roomy < roomyProbes || trouble !== 'full') return;
      trouble = null;
      logger.info('Redis has room again: the cache is in use again');
    },
  };
}

/** Marks Redis as lost when a connection closes, and starts its recovery when one is ready. */
function onConnectionChange(
  redis: Redis | Cluster,
  act: { lose: (reason: string) => void; comeBack: () => Promise<void> },
): void {
  /** Comes before the close event that it explains. */
  let lastError: string | null = null;
  onConnectionError(redis, (error) => (lastError = error.message));
  redis.on('close', () => act.lose(lastError ?? 'the connection was closed'));
  // In a cluster: a node is gone.
  redis.on('-node', () => act.lose(lastError ?? 'the connection to a node was closed'));
  redis.on('ready', () => {
    lastError = null;
    void act.comeBack();
  });
}

/** Repeats a step, with a pause before each; returns a function that stops it. A step handles its own failures. */
function repeat(pauseMs: number, step: () => Promise<void>): () => void {
  let isStopped = false;
  let timer: NodeJS.Timeout;
  const schedule = () => {
    timer = setTimeout(() => {
      void step()
        .catch(() => {})
        .finally(() => {
          if (!isStopped) schedule();
        });
    }, pauseMs).unref();
  };
  schedule();
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

/** No answer came in time. */
export class LateError extends Error {}

/** Something else answers in Redis's place, or answers are out of order: nothing on this connection can be trusted. */
export class ForeignAnswerError extends Error {
  constructor() {
    super('it does not answer as Redis does');
  }
}

function isFull(message: string): boolean {
  return /(^|\s)-?OOM\s/.test(message);
}

/** Awaits a promise for a limited number of milliseconds. @throws LateError after that; as the promise does */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // Reads the sockets once more after the timer: if an answer is there already, this process was late, not the
    // answer.
    const late = () => setImmediate(() => reject(new LateError(`no answer within ${ms} ms`)));
    const timer = setTimeout(late, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
