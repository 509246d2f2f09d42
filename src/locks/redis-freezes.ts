import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import { leaseMs, createLeasedFreezes } from './leased-freezes.ts';
import type { Freeze, Freezer } from './repository-freezer.ts';
import { createRedisInstances, type RedisInstances } from './redis-instances.ts';
import { createRedisKeys } from '../redis/keys.ts';
import { createRedisMessages, type Message, type RedisMessages } from './redis-messages.ts';

export type RedisFreezesOptions = {
  readonly redis: Redis | Cluster;
  /** Another connection, for reads that block. */
  readonly listening: Redis | Cluster;
  readonly keyPrefix: string;
  readonly upstreamUrl: string;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** After how long a silent instance counts as gone, in milliseconds. */
  readonly instanceTimeoutMs: number;
  /** Freezes this instance's own processes. */
  readonly own: Freezer;
  readonly logger: Pick<Logger, 'warn'>;
};

/** Freezes repositories in all instances that share a Redis. */
export type RedisFreezes = Freezer & {
  /** Waits until this instance is registered and knows what is frozen, for at most a second. */
  ready(): Promise<void>;
  /** This instance, and the others as last read. */
  peers(): { readonly me: string; readonly others: readonly string[] };
  /** Signs this instance off, so that the others no longer wait for it. */
  close(): Promise<void>;
};

/** How often a freeze is announced again, in milliseconds. */
const announceMs = 3000;
/**
 * How much earlier the deleting instance counts an answer as expired than the answering instance ends its freeze, in
 * milliseconds.
 */
const marginMs = 1000;
/** How often answers and their expiry are checked, in milliseconds. */
const pollMs = 250;
/** How long a start waits for Redis, in milliseconds. */
const readyMs = 1000;
const thawTries = 3;
/** A freeze that lacks an answer for longer is logged, in milliseconds. */
const longMs = 4000;

/**
 * The deleting instance repeats `freeze`. Each other instance answers `quiet`, with the time of that message: it lets
 * nothing through for `leaseMs` from then on. A lost message, a silent instance and a possibly incomplete list of
 * instances all have one outcome: the repository does not become quiet, and nothing is deleted.
 */
export function createRedisFreezes(options: RedisFreezesOptions): RedisFreezes {
  const { redis, listening, timeoutMs, instanceTimeoutMs, own, logger } = options;
  const keys = createRedisKeys(options.keyPrefix, options.upstreamUrl);
  const instances = createRedisInstances({ redis, key: keys.instances, timeoutMs, instanceTimeoutMs });
  const attempts = new Map<string, Attempt>();
  let lastNumber = 0;

  const leased = createLeasedFreezes(own, (notice) => {
    messages.publish({ kind: 'quiet', ...notice }).catch(() => {}); // the deleting instance announces it again, or tries again
  });
  const onMessage = (message: Message) => {
    const { kind, id, from, at } = message;
    if (from === instances.me) return;
    if (kind === 'freeze') leased.renew({ id, repository: message.repository, at });
    if (kind === 'thaw') leased.end(id);
    if (kind === 'quiet') attempts.get(id)?.answers.add(from, Math.min(at, performance.now()));
    if (kind === 'bye') for (const { answers } of attempts.values()) answers.keep(from);
  };
  const messages = createRedisMessages({
    ...{ redis, listening, key: keys.freezes, timeoutMs, instances },
    ...{ backMs: leaseMs, onMessage },
  });

  return {
    freeze: (repository, holdMs) => {
      const id = `${instances.me}/${++lastNumber}`;
      const attempt = startAttempt({ id, repository, holdMs }, { own, instances, messages, logger });
      attempts.set(id, attempt);
      attempt.over.signal.addEventListener('abort', () => attempts.delete(id));
      return attempt;
    },
    ready: () => waitAtMost(readyMs, messages.caughtUp),
    peers: () => ({ me: instances.me, others: instances.others() }),
    close: async () => {
      messages.close();
      for (const { over } of attempts.values()) over.abort();
      await messages.publish({ kind: 'bye', id: '', repository: '', at: 0 }).catch(() => {});
      await instances.close();
      leased.endAll();
    },
  };
}

type FreezeWish = { readonly id: string; readonly repository: string; readonly holdMs: number };
type Connected = Pick<RedisFreezesOptions, 'own' | 'logger'> & {
  readonly instances: RedisInstances;
  readonly messages: RedisMessages;
};
/** A freeze of this instance's own. */
type Attempt = Freeze & {
  readonly answers: QuietAnswers;
  /** Aborted: nobody waits for it any more. */
  readonly over: AbortController;
};

/** Freezes a repository in this instance's processes, then in all other instances. */
function startAttempt({ id, repository, holdMs }: FreezeWish, connected: Connected): Attempt {
  const { own, instances, messages, logger } = connected;
  const answers = createQuietAnswers(instances);
  const over = new AbortController();
  const lost = new AbortController();
  const { signal } = over;
  let ours: Freeze | undefined;

  const announce = () =>
    messages.publish({ kind: 'freeze', id, repository, at: Math.floor(performance.now()) });
  const loseIfExpired = () => {
    if (performance.now() > answers.validUntilMs() - marginMs) lost.abort();
  };
  const reach = async (): Promise<boolean> => {
    // No request is held for a freeze that cannot be agreed upon.
    if (!(await untilListIsSure(instances, signal))) return false;
    ours = own.freeze(repository, holdMs);
    every(announceMs, () => void announce().catch(() => {}), signal);
    await announce();
    if (!(await untilAllQuiet(ours, answers, instances, signal))) return false;
    every(pollMs, loseIfExpired, signal);
    return true;
  };
  const thaw = () => {
    if (signal.aborted) return;
    const silent = answers.missing();
    over.abort();
    if (ours === undefined) return;
    if (holdMs >= longMs && silent.length > 0) {
      const waitsFor =
        'a delete waits for another instance, which has not said in time that its requests have ended';
      logger.warn({ repository, instances: silent }, waitsFor);
    }
    ours.thaw();
    void publishThaw(messages, id, repository);
  };

  return { quiet: resolveWhen(reach()), lost: lost.signal, thaw, answers, over };
}

/**
 * Returns false if the freeze ends before all instances that reach Redis are known. @throws Error when Redis does not
 * answer.
 */
async function untilListIsSure(instances: RedisInstances, over: AbortSignal): Promise<boolean> {
  while (!over.aborted) {
    const { isSure } = await instances.look();
    if (isSure) return !over.aborted;
    await delay(pollMs, undefined, { ref: false });
  }
  return false;
}

/** Returns false if the freeze ends first, or if the list may lack instances. @throws Error when Redis does not answer. */
async function untilAllQuiet(
  ours: Freeze,
  answers: QuietAnswers,
  instances: RedisInstances,
  over: AbortSignal,
): Promise<boolean> {
  while (!over.aborted) {
    await Promise.all([answers.complete(over), ours.quiet]);
    // Checks once more: an instance that has started since is in the list now, or has read of the freeze before it
    // listens.
    if (!(await instances.look()).isSure) return false;
    if (answers.missing().length === 0) return !over.aborted;
  }
  return false;
}

/** If no message gets through, the freeze in the other instances expires. */
async function publishThaw(messages: RedisMessages, id: string, repository: string): Promise<void> {
  for (let tries = 1; tries <= thawTries; tries += 1) {
    try {
      await messages.publish({ kind: 'thaw', id, repository, at: 0 });
      return;
    } catch {
      await delay(announceMs / thawTries, undefined, { ref: false });
    }
  }
}

/** The answers of the other instances to one freeze. */
type QuietAnswers = {
  /** @param at when the answered message was sent, by this process's clock */
  add(from: string, at: number): void;
  /**
   * Notes that an instance is gone: an answer that it gave stays valid. Without one, its requests at upstream are
   * waited for.
   */
  keep(from: string): void;
  /** The instances that have not answered. */
  missing(): readonly string[];
  /** Resolves when no answer is missing, or the freeze is over. */
  complete(over: AbortSignal): Promise<void>;
  /** Until when each instance that has answered lets nothing through. */
  validUntilMs(): number;
};

function createQuietAnswers(instances: Pick<RedisInstances, 'others'>): QuietAnswers {
  /** When the message that each has answered was sent. */
  const answeredAtMs = new Map<string, number>();
  let onAnswer = () => {};
  const missing = () => instances.others().filter((id) => !answeredAtMs.has(id));

  return {
    add: (from, at) => {
      answeredAtMs.set(from, Math.max(at, answeredAtMs.get(from) ?? 0));
      onAnswer();
    },
    keep: (from) => {
      if (answeredAtMs.has(from)) answeredAtMs.set(from, Infinity);
    },
    missing,
    complete: (over) =>
      new Promise((resolve) => {
        const check = () => {
          if (!over.aborted && missing().length > 0) return;
          clearInterval(polling);
          resolve();
        };
        // An instance also stops missing when it counts as gone, which no event reports.
        const polling = setInterval(check, pollMs).unref();
        over.addEventListener('abort', check, { once: true });
        onAnswer = check;
        check();
      }),
    validUntilMs: () => Math.min(...answeredAtMs.values()) + leaseMs,
  };
}

/** Acts repeatedly until it is over. */
function every(ms: number, act: () => void, over: AbortSignal): void {
  if (over.aborted) return;
  const timer = setInterval(act, ms).unref();
  over.addEventListener('abort', () => clearInterval(timer), { once: true });
}

async function waitAtMost(ms: number, promise: Promise<void>): Promise<void> {
  const over = new AbortController();
  const late = delay(ms, undefined, { signal: over.signal }).catch(() => {});
  await Promise.race([promise, late]);
  over.abort();
}

/** Resolves when it becomes true; otherwise never. */
function resolveWhen(isTrue: Promise<boolean>): Promise<void> {
  return new Promise((resolve) => {
    isTrue.then(
      (isSo) => {
        if (isSo) resolve();
      },
      () => {},
    );
  });
}
