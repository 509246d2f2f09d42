import { createHash } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { forgetLockOutsMs, type LockOut, type LockOutRules } from './lock-outs.ts';

/** The lock-outs that all instances share; null if Redis does not answer in time. */
export type SharedLockOuts = {
  /** The present lock-outs, and whether the name has logged in from there; null: no name. Never rejects. */
  find(
    network: string,
    nameKey: string | null,
  ): Promise<{ address: LockOut | null; name: LockOut | null; hasComeFrom: boolean } | null>;
  /** Counts a failure, and returns the lock-outs that it begins. Never rejects. */
  count(
    network: string,
    nameKey: string | null,
  ): Promise<{ address: LockOut | null; name: LockOut | null } | null>;
  /** Remembers where a name has succeeded from; nothing waits for it. */
  remember(network: string, nameKey: string): void;
};

export type SharedLockOutsOptions = {
  readonly redis: Redis | Cluster;
  readonly keyPrefix: string;
  /** Instances count together when they guard the same upstream. */
  readonly upstreamUrl: string;
  readonly address: LockOutRules;
  readonly name: LockOutRules;
  /** How long it is remembered where a name has succeeded from, in milliseconds. */
  readonly provenTtlMs: number;
  /** The timeout of a command to Redis, in milliseconds. */
  readonly timeoutMs: number;
  readonly now: () => number;
};

/** How long Redis is not used after a failure, in milliseconds: not every attempt should wait for it. */
const pauseMs = 1000;

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** Keys: address, name, both together. Gives for each of the first two what is left of its lock-out and which in a row it is. */
const findScript = `${clock}
local found = {}
for i = 1, 2 do
  local lock = redis.call('HMGET', KEYS[i], 'until', 'times')
  found[#found + 1] = math.max(0, (tonumber(lock[1]) or 0) - now)
  found[#found + 1] = tonumber(lock[2]) or 0
end
found[5] = redis.call('EXISTS', KEYS[3])
return found
`;

/** What lock-outs.ts does in memory. Keys: address, name; arguments: for each of them failures, window, first and longest lock-out. */
const countScript = `${clock}
local forget = ${forgetLockOutsMs}
local function count(key, failures, window, lock, longest)
  if failures == 0 then return 0, 0 end
  local known = redis.call('HMGET', key, 'start', 'current', 'previous', 'until', 'times')
  local start, current, previous = tonumber(known[1]) or now, tonumber(known[2]) or 0, tonumber(known[3]) or 0
  local lockedUntil, times = tonumber(known[4]) or 0, tonumber(known[5]) or 0
  if now < lockedUntil then return 0, 0 end
  if now - lockedUntil >= forget then times = 0 end
  if now - start >= 2 * window then
    start, current, previous = now, 0, 0
  elseif now - start >= window then
    start, current, previous = start + window, 0, current
  end
  current = current + 1
  local lockedFor = 0
  if current + previous * (1 - (now - start) / window) >= failures then
    times = times + 1
    lockedFor = math.min(math.max(lock, longest), lock * 2 ^ math.min(times - 1, 40))
    lockedUntil = now + lockedFor
    start, current, previous = lockedUntil, 0, 0
  end
  redis.call('HSET', key, 'start', start, 'current', current, 'previous', previous, 'until', lockedUntil, 'times', times)
  redis.call('PEXPIRE', key, math.max(2 * window, times > 0 and lockedUntil - now + forget or 0))
  return lockedFor, times
end
local counted = {}
for i = 1, 2 do
  local rules = {}
  for j = 1, 4 do rules[j] = tonumber(ARGV[4 * (i - 1) + j]) end
  local lockedFor, times = count(KEYS[i], rules[1], rules[2], rules[3], rules[4])
  counted[#counted + 1] = lockedFor
  counted[#counted + 1] = times
end
return counted
`;

/** Counts in Redis, where instances share them. Names and addresses are hashed there; a hash tells who guesses right. */
export function createSharedLockOuts(options: SharedLockOutsOptions): SharedLockOuts {
  const { redis, timeoutMs, now } = options;
  // The braces keep all keys in one slot of a cluster, which scripts need.
  const prefix = `${options.keyPrefix}{${sha256(options.upstreamUrl, 16)}}:login:`;
  const keysOf = (network: string, nameKey: string | null) => [
    `${prefix}address:${sha256(network, 32)}`,
    `${prefix}name:${nameKey ?? ''}`,
    `${prefix}from:${sha256(`${network} ${nameKey ?? ''}`, 32)}`,
  ];
  const rulesOf = ({ failures, windowMs, lockMs, maxLockMs }: LockOutRules) => [
    failures,
    windowMs,
    lockMs,
    maxLockMs,
  ];
  const rules = [...rulesOf(options.address), ...rulesOf(options.name)];
  /** No failures are counted where their limit is 0. */
  const rulesOfAddress = [...rulesOf(options.address), ...rulesOf({ ...options.name, failures: 0 })];
  let awayUntilMs = -Infinity;

  const ask = async (question: () => Promise<unknown>): Promise<number[] | null> => {
    if (redis.status !== 'ready' || now() < awayUntilMs) return null;
    try {
      return (await within(timeoutMs, question())) as number[];
    } catch {
      awayUntilMs = now() + pauseMs;
      return null;
    }
  };

  return {
    find: async (network, nameKey) => {
      const found = await ask(() => redis.eval(findScript, 3, ...keysOf(network, nameKey)));
      return (
        found && { address: toLockOut(found, 0), name: toLockOut(found, 2), hasComeFrom: found[4] === 1 }
      );
    },
    count: async (network, nameKey) => {
      const [address = '', name = ''] = keysOf(network, nameKey);
      const counted = await ask(() =>
        redis.eval(countScript, 2, address, name, ...(nameKey === null ? rulesOfAddress : rules)),
      );
      return counted && { address: toLockOut(counted, 0), name: toLockOut(counted, 2) };
    },
    remember: (network, nameKey) => {
      const [, , from = ''] = keysOf(network, nameKey);
      void ask(() => redis.set(from, '', 'PX', options.provenTtlMs));
    },
  };
}

function toLockOut(answer: readonly number[], at: number): LockOut | null {
  const forMs = answer[at] ?? 0;
  return forMs > 0 ? { forMs, times: answer[at + 1] ?? 1 } : null;
}

function sha256(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
