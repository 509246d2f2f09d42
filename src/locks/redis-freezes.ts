import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Freeze, Freezer } from './repository-freezer.ts';
import { createRedisInstances } from './redis-instances.ts';
import { createRedisKeys } from '../redis/keys.ts';
import { createRedisNews, type News } from './redis-news.ts';

export type RedisFreezesOptions = {
  readonly redis: Redis | Cluster;
  /** Another connection, on which it is listened. */
  readonly listening: Redis | Cluster;
  readonly keyPrefix: string;
  readonly upstreamUrl: string;
  /** How long anything waits for Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** After how long an instance that says nothing is taken for gone, in milliseconds. */
  readonly instanceTimeoutMs: number;
  /** Freezes this instance's own processes. */
  readonly own: Freezer;
  readonly logger: Pick<Logger, 'warn'>;
};

/** Freezes repositories in all instances that share a Redis. */
export type RedisFreezes = Freezer & {
  /** Waits until this instance is registered and knows what is frozen; no longer than a second. */
  ready(): Promise<void>;
  /** Signs this instance off: nobody waits for it any more. */
  close(): Promise<void>;
};

/** How long a freeze of another instance lasts without a word from it, in milliseconds. */
const leaseMs = 10_000;
/** How often that word is said, and looked for the answers, in milliseconds. */
const keepMs = 3000;
/** So much earlier than an instance may end its freeze who deletes takes it for lost, in milliseconds. */
const marginMs = 1000;
const lookMs = 250;
/** How long a start waits for Redis, in milliseconds. */
const readyMs = 1000;
const thawTries = 3;
/** An instance that has not answered for so long is worth a line in the log, in milliseconds. */
const longMs = 4000;
/** How many freezes of others are acted on at one time. */
const maxForeign = 1000;

type Foreign = {
  readonly freeze: Freeze;
  readonly timer: NodeJS.Timeout;
  /** The last word of who deletes. */
  at: number;
  isQuiet: boolean;
};
/** A freeze of this instance's own. */
type Attempt = {
  readonly hear: (from: string, at: number) => void;
  /** An instance is gone. If it has not answered, what it has left at upstream is waited for. */
  readonly leave: (from: string) => void;
  readonly stop: () => void;
};

/**
 * Who deletes says `freeze` again and again, and each of the others `quiet`, with the time of the word that it answers: for `leaseMs` from then
 * on it surely lets nothing through. A message that is lost, an instance that does not answer, and a list of instances that may not be whole
 * all come to the same: it does not become quiet, and nothing is deleted.
 */
export function createRedisFreezes(options: RedisFreezesOptions): RedisFreezes {
  const { redis, listening, timeoutMs, instanceTimeoutMs, own, logger } = options;
  const keys = createRedisKeys(options.keyPrefix, options.upstreamUrl);
  const instances = createRedisInstances({ redis, key: keys.instances, timeoutMs, instanceTimeoutMs });
  const foreign = new Map<string, Foreign>();
  const attempts = new Map<string, Attempt>();
  let lastNumber = 0;

  const thawForeign = (id: string) => {
    const found = foreign.get(id);
    if (found === undefined) return;
    foreign.delete(id);
    clearTimeout(found.timer);
    found.freeze.thaw();
  };
  const freezeForeign = ({ id, repository, at }: News) => {
    const known = foreign.get(id);
    const answer = (held: Foreign) => {
      if (foreign.get(id) !== held) return;
      news.tell({ kind: 'quiet', id, repository, at: held.at }).catch(() => {}); // it is said anew, or tried again
    };
    if (known !== undefined) {
      known.at = at;
      known.timer.refresh();
      if (known.isQuiet) answer(known);
    } else if (foreign.size < maxForeign) {
      const freeze = own.freeze(repository, leaseMs);
      const timer = setTimeout(() => thawForeign(id), leaseMs).unref();
      const held: Foreign = { freeze, timer, at, isQuiet: false };
      foreign.set(id, held);
      void freeze.quiet.then(() => {
        held.isQuiet = true;
        answer(held);
      });
    }
  };
  const onNews = (said: News) => {
    const { kind, id, from } = said;
    if (from === instances.me) return;
    if (kind === 'freeze') freezeForeign(said);
    if (kind === 'thaw') thawForeign(id);
    if (kind === 'quiet') attempts.get(id)?.hear(from, Math.min(said.at, performance.now()));
    if (kind === 'bye') for (const { leave } of attempts.values()) leave(from);
  };
  const news = createRedisNews({
    ...{ redis, listening, key: keys.freezes, timeoutMs, instances },
    ...{ backMs: leaseMs, onNews },
  });

  const thawOthers = async (id: string, repository: string): Promise<void> => {
    for (let tries = 1; tries <= thawTries; tries += 1) {
      try {
        await news.tell({ kind: 'thaw', id, repository, at: 0 });
        return;
      } catch {
        await delay(keepMs / thawTries, undefined, { ref: false }); // it ends by itself
      }
    }
  };

  const freeze: Freezer['freeze'] = (repository, holdMs) => {
    const id = `${instances.me}/${++lastNumber}`;
    /** Until when, less `leaseMs`, each of the others surely lets nothing through. */
    const answers = new Map<string, number>();
    const losing = new AbortController();
    let isOver = false;
    let ours: Freeze | undefined;
    const timers: NodeJS.Timeout[] = [];
    let look = () => {};
    const every = (ms: number, act: () => void) => timers.push(setInterval(act, ms).unref());
    const say = () => news.tell({ kind: 'freeze', id, repository, at: Math.floor(performance.now()) });
    const missing = () => instances.others().filter((each) => !answers.has(each));
    const watch = () => {
      const untilMs = Math.min(...answers.values()) + leaseMs - marginMs;
      if (performance.now() > untilMs) losing.abort();
    };
    const answered = () =>
      new Promise<void>((resolve) => {
        look = () => {
          if (isOver || missing().length === 0) resolve();
        };
        look();
      });
    const isSure = async (): Promise<boolean> => {
      while (!isOver) {
        if ((await instances.look()).isSure) return true;
        await delay(lookMs, undefined, { ref: false });
      }
      return false;
    };
    const begin = async (): Promise<boolean> => {
      // Nobody is held for what cannot be agreed upon.
      if (!(await isSure()) || ended()) return false;
      ours = own.freeze(repository, holdMs);
      attempts.set(id, {
        hear: (from, at) => {
          answers.set(from, Math.max(at, answers.get(from) ?? 0));
          look();
        },
        leave: (from) => {
          if (answers.has(from)) answers.set(from, Infinity);
        },
        stop,
      });
      every(keepMs, () => void say().catch(() => {}));
      every(lookMs, () => look());
      await say();
      while (!ended()) {
        await Promise.all([answered(), ours.quiet]);
        // Looked at once more: one that has come since is among them, or has read of the freeze before it serves.
        if (!(await instances.look()).isSure) return false;
        if (missing().length > 0) continue;
        every(lookMs, watch);
        return true;
      }
      return false;
    };
    const ended = () => isOver;
    const stop = () => {
      isOver = true;
      for (const timer of timers) clearInterval(timer);
      attempts.delete(id);
      look();
    };
    return {
      quiet: resolveWhen(begin()),
      lost: losing.signal,
      thaw: () => {
        if (isOver) return;
        const silent = missing();
        stop();
        if (ours === undefined) return;
        if (holdMs >= longMs && silent.length > 0) {
          const waitsFor =
            'another instance has not said in time that nothing is under way: a delete waits for it';
          logger.warn({ repository, instances: silent }, waitsFor);
        }
        ours.thaw();
        void thawOthers(id, repository);
      },
    };
  };

  return {
    freeze,
    ready: async () => {
      const over = new AbortController();
      const late = delay(readyMs, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([news.caughtUp, late]);
      over.abort();
    },
    close: async () => {
      news.close();
      for (const { stop } of attempts.values()) stop();
      await news.tell({ kind: 'bye', id: '', repository: '', at: 0 }).catch(() => {});
      await instances.close();
      for (const id of foreign.keys()) thawForeign(id);
    },
  };
}

/** Resolves when it has come true; else never. */
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
