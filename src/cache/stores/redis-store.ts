import type { WorkerIpc } from '../../system/worker-ipc.ts';
import { readRedisStats } from './redis-admin.ts';
import { createRedisKeys } from '../../redis/keys.ts';
import { runScript, type Script } from '../../redis/run-script.ts';
import { asList, itemWord, keysOf, nonce, scopeWords, wordsOf, type Commands } from './redis-commands.ts';
import { createRedisLookups } from './redis-lookups.ts';
import { beginWriteScript, endWriteScript, fillScript, returnScript } from './redis-scripts.ts';
import { createRedisTrust, ForeignAnswerError, type RedisTrustOptions } from '../../redis/trust.ts';
import type { WriteNotice } from './shared-memory-store.ts';
import {
  maxWordBytes,
  wordBytes,
  type CacheStore,
  type CacheWrite,
  type Slot,
  type StoreLimits,
  type Ticket,
} from './store.ts';

export type RedisStoreOptions = StoreLimits &
  Omit<RedisTrustOptions, 'keys' | 'onRecovered'> & {
    readonly keyPrefix: string;
    /** The upstream whose answers are stored: upstreams do not share entries. */
    readonly upstreamUrl: string;
    /** The other processes of this instance, which are told of a write that could not be sent to Redis. */
    readonly ipc?: WorkerIpc<WriteNotice> | undefined;
  };

/** How many ends of writes are kept while Redis is away. */
const maxMissedEnds = 1000;

/** The store that several instances share. */
export function createRedisStore(options: RedisStoreOptions): CacheStore {
  const { redis, maxBytes, ipc } = options;
  let { ttlMs } = options;
  const keys = createRedisKeys(options.keyPrefix, options.upstreamUrl);
  const trust = createRedisTrust({
    ...options,
    keys,
    onRecovered: async () => {
      await proveRedis(commands);
      await writes.sendMissedEnds();
    },
  });
  const commands: Commands = {
    keys,
    trust,
    run: (script, names, args, parse) =>
      trust.run(async () => parse(await runScript(redis, script, names, args))),
  };
  const writes = createWriteSender(commands, maxBytes, ipc);
  ipc?.subscribe(() => trust.lose('another worker could not tell Redis of a write'));

  return {
    lookup: createRedisLookups(commands, maxBytes),
    fill: (slot, ticket, value, ageMs) =>
      fill(commands, slot, { ticket, value, leftMs: Math.floor(ttlMs - ageMs), maxBytes }),
    beginWrite: writes.begin,
    endWrite: writes.end,
    clear: (renewedTtlMs) => {
      ttlMs = renewedTtlMs;
      // Recovery ends the epoch, and with it all entries.
      trust.lose('the configuration has changed: the cache is emptied');
    },
    isUsable: () => trust.isTrusted(),
    stats: async () => {
      if (!trust.isTrusted()) return null;
      const ask = (...asked: [Script, string[], string[]]) => commands.run(...asked, (reply) => reply);
      return readRedisStats(ask, keys).catch(() => null);
    },
    close: () => {
      trust.close();
      return Promise.resolve();
    },
  };
}

/** Checks that a Redis answers, before anything of it is trusted. @throws Error if not */
async function proveRedis({ keys, run }: Commands): Promise<void> {
  const sent = nonce();
  await run(returnScript, [keys.epoch, keys.index], [sent], (reply) => {
    const [echo, one] = asList(reply);
    if (!Buffer.isBuffer(echo) || echo.toString() !== sent || one !== 1) throw new ForeignAnswerError();
  });
}

type Filling = {
  readonly ticket: Ticket;
  readonly value: Buffer;
  /** How much longer the entry may be served, in milliseconds. */
  readonly leftMs: number;
  readonly maxBytes: number;
};

async function fill(
  { keys, trust, run }: Commands,
  slot: Slot,
  { ticket, value, leftMs, maxBytes }: Filling,
): ReturnType<CacheStore['fill']> {
  if (!trust.isTrusted() || leftMs <= 0) return { stored: false, evicted: 0 };
  try {
    const args = [ticket, value, String(leftMs), String(maxBytes), ...wordsOf(slot)];
    const [stored, evicted] = await run(fillScript, keysOf(keys, slot), args, parseStored);
    return { stored: stored === 1, evicted };
  } catch {
    return { stored: false, evicted: 0 };
  }
}

/** Sends writes to Redis; tells the other workers of writes that Redis did not accept. Its operations never reject. */
type WriteSender = {
  readonly begin: CacheStore['beginWrite'];
  readonly end: CacheStore['endWrite'];
  /** Redis may know only of a write's beginning, which would prevent fills for a minute. */
  readonly sendMissedEnds: () => Promise<void>;
};

function createWriteSender(
  { keys, trust, run }: Commands,
  maxBytes: number,
  ipc: RedisStoreOptions['ipc'],
): WriteSender {
  const maxWords = String(Math.floor(maxWordBytes(maxBytes) / wordBytes));
  const missedEnds = new Set<CacheWrite>();

  /** False: Redis may not have accepted it. */
  const send = async (script: Script, { id, scope, items }: CacheWrite): Promise<boolean> => {
    if (!trust.isReachable()) return false;
    try {
      const named = items === 'all' ? [] : items.map((item) => itemWord(scope, item));
      await run(script, [keys.words], [nonce(), id, maxWords, ...scopeWords(scope), ...named], parseWritten);
      return true;
    } catch {
      return false;
    }
  };
  /** Sends an end in both phases: a worker that starts later begins without trust, so nothing is kept for it. */
  const warnWorkers = async (change: CacheWrite) => ipc?.publish({ phase: 'end', change });

  return {
    begin: async (change) => {
      const isKnown = await send(beginWriteScript, change);
      if (!isKnown) await warnWorkers(change);
      return isKnown;
    },
    end: async (change) => {
      const isKnown = await send(endWriteScript, change);
      if (!isKnown && missedEnds.size < maxMissedEnds) missedEnds.add(change);
      if (!isKnown) await warnWorkers(change);
      return isKnown;
    },
    sendMissedEnds: async () => {
      for (const change of missedEnds) {
        if (!(await send(endWriteScript, change))) return;
        missedEnds.delete(change);
      }
    },
  };
}

function parseStored(reply: unknown): readonly [stored: number, evicted: number] {
  const [stored, evicted] = asList(reply);
  if (typeof stored !== 'number' || typeof evicted !== 'number') throw new ForeignAnswerError();
  return [stored, evicted];
}

function parseWritten(reply: unknown): void {
  if (reply !== 1) throw new ForeignAnswerError();
}
