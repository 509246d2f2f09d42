import { createHash, randomBytes } from 'node:crypto';
import type { WorkerIpc } from '../system/worker-ipc.ts';
import { readRedisStats } from './redis-admin.ts';
import { createRedisKeys } from '../redis/keys.ts';
import { runScript } from '../redis/run-script.ts';
import { beginWriteScript, endWriteScript, fillScript, lookupScript, returnScript } from './redis-scripts.ts';
import { type Script } from '../redis/run-script.ts';
import { createRedisTrust, ForeignAnswerError, type RedisTrustOptions } from '../redis/trust.ts';
import type { WriteNotice } from './shared-memory-store.ts';
import {
  maxWordBytes,
  wordBytes,
  type CacheStore,
  type Change,
  type Slot,
  type StoreLimits,
} from './store.ts';

export type RedisStoreOptions = StoreLimits &
  Omit<RedisTrustOptions, 'keys' | 'onReturn'> & {
    readonly keyPrefix: string;
    /** What the entries are copies of: upstreams do not share entries. */
    readonly upstreamUrl: string;
    /** Other processes of this front door: they hear of a write of which Redis could not be told. */
    readonly ipc?: WorkerIpc<WriteNotice> | undefined;
  };

/** More than any value has, in bytes. */
const anySize = 2 ** 40;

/** How many ends of writes are kept for a Redis that is away. */
const maxMissedEnds = 1000;

/** The store that several instances share. */
export function createRedisStore(options: RedisStoreOptions): CacheStore {
  const { redis, maxBytes, ipc } = options;
  let { ttlMs } = options;
  const keys = createRedisKeys(options.keyPrefix, options.upstreamUrl);
  const maxWords = String(Math.floor(maxWordBytes(maxBytes) / wordBytes));
  /** Writes of whose end Redis could not be told. It may know of their beginning, which would keep fills out for a minute. */
  const missedEnds = new Set<Change>();
  const tellEnds = async () => {
    for (const change of missedEnds) {
      if (!(await write(endWriteScript, change))) return;
      missedEnds.delete(change);
    }
  };
  /** Whether it is a Redis at all that answers is seen here, before anything of it is believed. */
  const tryOut = async () => {
    const sent = nonce();
    await run(returnScript, [keys.epoch, keys.index], [sent], (reply) => {
      const [echo, one] = asList(reply);
      if (!Buffer.isBuffer(echo) || echo.toString() !== sent || one !== 1) throw new ForeignAnswerError();
    });
  };
  const trust = createRedisTrust({
    ...options,
    keys,
    onReturn: async () => {
      await tryOut();
      await tellEnds();
    },
  });
  ipc?.subscribe(() => trust.lose('another worker could not tell it of a write'));
  /** An answer that `parse` refuses ends the trust, as none does. */
  const run = <T>(
    script: Script,
    names: string[],
    args: (string | Buffer)[],
    parse: (reply: unknown) => T,
  ): Promise<T> => trust.run(async () => parse(await runScript(redis, script, names, args)));

  const keysOf = (slot: Slot) => [keys.epoch, keys.words, keys.entry(slot), keys.index];

  const write = async (script: Script, { id, scope, items }: Change): Promise<boolean> => {
    if (!trust.isReachable()) return false;
    try {
      const named = items === 'all' ? [] : items.map((item) => itemWord(scope, item));
      await run(script, [keys.words], [nonce(), id, maxWords, ...scopeWords(scope), ...named], parseWritten);
      return true;
    } catch {
      return false;
    }
  };

  /** An end in either phase: nothing is to be kept for a worker that starts later, since it begins without trust. */
  const warnWorkers = async (change: Change) => ipc?.publish({ phase: 'end', change });

  return {
    lookup: async (slot, maxBytes = anySize) => {
      if (!trust.isTrusted()) return { kind: 'unavailable' };
      const before = trust.losses();
      try {
        const sent = nonce();
        const [, ...words] = wordsOf(slot);
        const [ticket, value] = await run(
          lookupScript,
          keysOf(slot),
          [sent, ...words, String(maxBytes)],
          (reply) => parseFound(reply, sent),
        );
        if (trust.losses() !== before) return { kind: 'unavailable' };
        if (typeof value === 'number') return { kind: 'large', bytes: value, ticket: ticket.toString() };
        return value === null
          ? { kind: 'absent', ticket: ticket.toString() }
          : { kind: 'found', value, ticket: ticket.toString() };
      } catch {
        return { kind: 'unavailable' };
      }
    },
    fill: async (slot, ticket, value, ageMs) => {
      const leftMs = Math.floor(ttlMs - ageMs);
      if (!trust.isTrusted() || leftMs <= 0) return { stored: false, evicted: 0 };
      try {
        const args = [ticket, value, String(leftMs), String(maxBytes), ...wordsOf(slot)];
        const [stored, evicted] = await run(fillScript, keysOf(slot), args, parseStored);
        return { stored: stored === 1, evicted };
      } catch {
        return { stored: false, evicted: 0 };
      }
    },
    beginWrite: async (change) => {
      const isKnown = await write(beginWriteScript, change);
      if (!isKnown) await warnWorkers(change);
      return isKnown;
    },
    endWrite: async (change) => {
      const isKnown = await write(endWriteScript, change);
      if (!isKnown && missedEnds.size < maxMissedEnds) missedEnds.add(change);
      if (!isKnown) await warnWorkers(change);
      return isKnown;
    },
    clear: (renewedTtlMs) => {
      ttlMs = renewedTtlMs;
      // Coming back ends the epoch, and with it all that is stored.
      trust.lose('the configuration has changed: what was stored is forgotten');
    },
    isUsable: () => trust.isTrusted(),
    stats: async () => {
      if (!trust.isTrusted()) return null;
      const ask = (...asked: [Script, string[], string[]]) => run(...asked, (reply) => reply);
      return readRedisStats(ask, keys).catch(() => null);
    },
    close: () => {
      trust.close();
      return Promise.resolve();
    },
  };
}

const asList = (reply: unknown): readonly unknown[] => (Array.isArray(reply) ? reply : []);

function parseFound(reply: unknown, sent: string): readonly [ticket: Buffer, value: Buffer | number | null] {
  const [ticket, value, echo] = asList(reply);
  const isFormed =
    Buffer.isBuffer(ticket) && (value === null || typeof value === 'number' || Buffer.isBuffer(value));
  if (!isFormed || !Buffer.isBuffer(echo) || echo.toString() !== sent) throw new ForeignAnswerError();
  return [ticket, value];
}

function parseStored(reply: unknown): readonly [stored: number, evicted: number] {
  const [stored, evicted] = asList(reply);
  if (typeof stored !== 'number' || typeof evicted !== 'number') throw new ForeignAnswerError();
  return [stored, evicted];
}

function parseWritten(reply: unknown): void {
  if (reply !== 1) throw new ForeignAnswerError();
}

function nonce(): string {
  return randomBytes(8).toString('hex');
}

/** A name that is as short for every scope and item: 96 bits of a hash, of which two that are the same cost only an entry. */
function shorten(...names: string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('base64url').slice(0, 16);
}

function scopeWords(scope: string): readonly [scope: string, any: string, all: string] {
  const short = shorten(scope);
  return [short, `any:${short}`, `all:${short}`];
}

function itemWord(scope: string, item: string): string {
  return `item:${shorten(scope, item)}`;
}

function wordsOf({ scope, item }: Slot): readonly string[] {
  return [...scopeWords(scope), itemWord(scope, item)];
}
