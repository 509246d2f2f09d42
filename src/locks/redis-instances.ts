import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Cluster, Redis } from 'ioredis';
import { unsettledMs } from './repository-locks.ts';
import { ForeignAnswerError, LateError, within } from '../redis/trust.ts';

export type RedisInstancesOptions = {
  readonly redis: Redis | Cluster;
  /** The key of the list. */
  readonly key: string;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  /** How long an instance may be silent before it counts as gone, in milliseconds. */
  readonly instanceTimeoutMs: number;
};

export type Look = {
  /** Whether all instances that reach Redis must be in the list. */
  readonly isSure: boolean;
  /** See {@link RedisInstances.others}. */
  readonly others: readonly string[];
  /** Redis's clock, in milliseconds. */
  readonly nowMs: number;
  /** When the list began. */
  readonly sinceMs: number;
};

/** The instances that share a Redis, including this one. */
export type RedisInstances = {
  readonly me: string;
  /** Registers this instance, and reads the list of the others. @throws Error when Redis does not answer. */
  look(): Promise<Look>;
  /** The other instances to wait for, as last read. */
  others(): readonly string[];
  /** When the list began, as last read. */
  sinceMs(): number;
  /** Signs this instance off: the others wait only for its requests still at upstream. */
  close(): Promise<void>;
};

const registerMs = 1000;
/** How many commands in a row may lack a right answer before the connection is reopened. */
const maxUnanswered = 3;
/**
 * Twice the time in which an instance finds Redis again and registers: a pause, an attempt to connect, a tick. In
 * milliseconds.
 */
const settleMs = 2000;
const hourMs = 60 * 60 * 1000;

/**
 * KEYS instances; ARGV id, since when the caller knows the list, and what it knows: (id, milliseconds of silence)…
 * Registers an instance. A lost list starts afresh with the instances that its first readers remember. "#since" is when
 * it began.
 */
const registerScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local since = tonumber(redis.call('ZSCORE', KEYS[1], '#since') or '')
if not since or since > now then
  since = now
  redis.call('ZADD', KEYS[1], since, '#since')
end
if since ~= tonumber(ARGV[2]) then
  for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'NX', now - tonumber(ARGV[i + 1]), ARGV[i]) end
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ${hourMs})) do
  if id ~= '#since' then redis.call('ZREM', KEYS[1], id) end
end
redis.call('PEXPIRE', KEYS[1], ${hourMs})
return { now, since, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') }
`;
/** KEYS instances; ARGV id, milliseconds of silence. */
const signOffScript = `
local t = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'XX', t[1] * 1000 + math.floor(t[2] / 1000) - tonumber(ARGV[2]), ARGV[1])
`;

/**
 * Keeps the instances in a sorted set by when they last registered. Each remembers by its own clock when it last saw
 * the others. So neither a lost list nor a Redis with another clock makes it forget one.
 */
export function createRedisInstances(options: RedisInstancesOptions): RedisInstances {
  const { redis, key, timeoutMs, instanceTimeoutMs } = options;
  const me = `${hostname()}/${process.pid}/${randomBytes(6).toString('hex')}`;
  const seen = new Map<string, { readonly score: number; readonly heardAtMs: number }>();
  let sinceMs = 0;
  let connectedAtMs = performance.now();
  let unanswered = 0;
  let isClosed = false;

  const silentMs = (id: string) => performance.now() - (seen.get(id)?.heardAtMs ?? -Infinity);
  const others = () => [...seen.keys()].filter((id) => id !== me && silentMs(id) < instanceTimeoutMs);
  const note = (nowMs: number, listSinceMs: number, listed: ReadonlyMap<string, number>) => {
    const isSameList = listSinceMs === sinceMs;
    sinceMs = listSinceMs;
    for (const [id, score] of listed)
      if (seen.get(id)?.score !== score)
        seen.set(id, { score, heardAtMs: performance.now() - Math.max(0, nowMs - score) });
    for (const id of seen.keys())
      if (!listed.has(id) && (isSameList || silentMs(id) > instanceTimeoutMs)) seen.delete(id);
  };
  const look = async (): Promise<Look> => {
    if (isClosed) throw new Error('closed');
    const remembered = others().flatMap((id) => [id, Math.ceil(silentMs(id))]);
    const reply = await within(timeoutMs, redis.eval(registerScript, 1, key, me, sinceMs, ...remembered));
    const [nowMs, since, listed] = readReply(reply);
    note(nowMs, since, listed);
    // A replica that has taken over may lack some. They notice that too.
    const settledMs = Math.min(nowMs - since, performance.now() - connectedAtMs);
    return { isSure: settledMs >= settleMs, others: others(), nowMs, sinceMs };
  };

  const register = async (): Promise<void> => {
    try {
      await look();
      unanswered = 0;
    } catch (error) {
      // An error reply, such as that it is full, must not cut off all users of the connection.
      const isAnswer = !(error instanceof LateError || error instanceof ForeignAnswerError);
      unanswered = isAnswer ? 0 : unanswered + 1;
      if (unanswered < maxUnanswered || redis.status !== 'ready' || isClosed) return;
      unanswered = 0;
      redis.disconnect(true);
    }
  };
  const registering = setInterval(() => void register(), registerMs).unref();
  for (const event of ['ready', '+node'])
    redis.on(event, () => {
      connectedAtMs = performance.now();
      if (event === 'ready') void register();
    });

  return {
    me,
    look,
    others,
    sinceMs: () => sinceMs,
    close: async () => {
      isClosed = true;
      clearInterval(registering);
      const silent = Math.max(0, instanceTimeoutMs - unsettledMs);
      await within(timeoutMs, redis.eval(signOffScript, 1, key, me, silent)).catch(() => {}); // it counts as gone later
    },
  };
}

/** @throws Error when it is not an answer of the script. */
function readReply(reply: unknown): readonly [number, number, ReadonlyMap<string, number>] {
  const [nowMs, since, members] = Array.isArray(reply) ? (reply as unknown[]) : [];
  if (typeof nowMs !== 'number' || typeof since !== 'number' || !Array.isArray(members))
    throw new ForeignAnswerError();
  const listed = new Map<string, number>();
  for (let i = 0; i + 1 < members.length; i += 2) {
    const [id, score] = [String(members[i]), Number(members[i + 1])];
    if (id !== '#since' && Number.isFinite(score)) listed.set(id, score);
  }
  return [nowMs, since, listed];
}
