import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import * as z from 'zod';
import { within } from '../redis/trust.ts';
import type { PendingChallenge } from './challenges.ts';

/** The challenges of all instances that share a Redis: whichever a CA reaches can answer. Nothing in them is secret. */
export type SharedChallenges = {
  /** Replaces this instance's own; resolves when all instances answer them, or some do not in time. */
  publish(challenges: readonly PendingChallenge[]): Promise<void>;
  close(): void;
};

export type SharedChallengesOptions = {
  readonly redis: Redis | Cluster;
  readonly keys: {
    /** The challenges of each instance. */
    readonly challenges: string;
    /** What each instance answers, and when it has said so. */
    readonly answered: string;
  };
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** Called with the others' challenges when they change; resolves when this instance answers them. */
  readonly onOthers: (challenges: readonly PendingChallenge[]) => Promise<void>;
};

const pollMs = 1000;
/** How long an instance may be silent before nobody waits for it, in milliseconds. */
const silentMs = 5000;
const publishLimitMs = 10_000;
/** How long the challenges of an instance that ended stay, in milliseconds: a CA is done long before. */
const ttlMs = 15 * 60_000;
/** A list longer than this is none of ours. */
const maxChallenges = 200;

const listSchema = z.object({
  list: z
    .array(
      z.object({
        type: z.enum(['tls-alpn-01', 'http-01']),
        host: z.string().max(300),
        token: z.string().max(600),
        thumbprint: z.string().max(100),
      }),
    )
    .max(maxChallenges),
});

/**
 * KEYS challenges, answered; ARGV id, the digest of what it answers, milliseconds of a key's life. Says what this
 * instance answers, and returns Redis's clock, all challenges and what all others have said.
 */
const lookScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[2], ARGV[1], now .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return { now, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]) }
`;
/** KEYS challenges; ARGV id, the list or "", milliseconds of the key's life. */
const putScript = `
if ARGV[2] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
`;

export function createSharedChallenges(options: SharedChallengesOptions): SharedChallenges {
  const { redis, keys, timeoutMs, onOthers } = options;
  const me = randomBytes(9).toString('base64url');
  /** The digest of the challenges that this instance answers. */
  let answered = '';
  let isClosed = false;
  let looking: Promise<Look | null> | null = null;

  const read = async (): Promise<Look | null> => {
    try {
      const arguments_ = [me, answered, ttlMs] as const;
      const reply = await within(
        timeoutMs,
        redis.eval(lookScript, 2, keys.challenges, keys.answered, ...arguments_),
      );
      const look = parseLook(reply);
      if (look.digest !== answered) {
        await onOthers([...look.lists].flatMap(([id, list]) => (id === me ? [] : list)));
        ({ digest: answered } = look);
      }
      return look;
    } catch {
      return null; // asked again a little later
    }
  };
  const look = () => (looking ??= read().finally(() => (looking = null)));
  const poll = async (): Promise<void> => {
    const before = answered;
    await look();
    if (!isClosed) timer = setTimeout(() => void poll(), answered === before ? pollMs : 0).unref();
  };
  let timer = setTimeout(() => void poll(), 0).unref();

  return {
    publish: async (challenges) => {
      const text = challenges.length === 0 ? '' : JSON.stringify({ list: challenges });
      try {
        await within(timeoutMs, redis.eval(putScript, 1, keys.challenges, me, text, ttlMs));
      } catch {
        return; // they may reach this instance all the same
      }
      if (challenges.length === 0) return;
      const untilMs = performance.now() + publishLimitMs;
      while (performance.now() < untilMs) {
        const seen = await look();
        if (seen?.others(me).every((digest) => digest === seen.digest) === true) return;
        await delay(pollMs / 5, undefined, { ref: false });
      }
    },
    close: () => {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

type Look = {
  readonly digest: string;
  readonly lists: ReadonlyMap<string, readonly PendingChallenge[]>;
  /** What the other living instances answer. */
  readonly others: (me: string) => readonly string[];
};

/** @throws Error when it is not an answer of the script */
function parseLook(reply: unknown): Look {
  const [nowMs, challenges, answered] = z
    .tuple([z.number(), z.array(z.string()), z.array(z.string())])
    .parse(reply);
  const digest = createHash('sha256');
  const lists = new Map<string, readonly PendingChallenge[]>();
  for (const [id, text] of toPairs(challenges).toSorted(([one], [other]) => (one < other ? -1 : 1))) {
    digest.update(`${id}\n${text}\n`);
    lists.set(id, listSchema.parse(JSON.parse(text)).list);
  }
  return {
    digest: lists.size === 0 ? '' : digest.digest('base64url'),
    lists,
    others: (me) =>
      toPairs(answered).flatMap(([id, text]) => {
        const [at = '', said = ''] = text.split(' ');
        return id === me || nowMs - Number(at) > silentMs ? [] : [said];
      }),
  };
}

function toPairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((id, i) => (i % 2 === 0 ? [[id, flat[i + 1] ?? ''] satisfies [string, string]] : []));
}
