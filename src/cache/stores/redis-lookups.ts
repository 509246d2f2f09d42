import { LRUCache } from 'lru-cache';
import { ForeignAnswerError } from '../../redis/trust.ts';
import { hashBytes, hasItsHash } from '../entry.ts';
import { createSharedLookups } from '../shared-lookups.ts';
import { asList, keysOf, nonce, wordsOf, type Commands } from './redis-commands.ts';
import { lookupScript, stillSo } from './redis-scripts.ts';
import { entryOverheadBytes, maxHeldBytes, type CacheStore, type Lookup, type Slot } from './store.ts';

/** A value that was found, the names of its slot's words, and when its use was last noted in Redis. */
type Held = { readonly value: Buffer; readonly words: readonly string[]; readonly notedAtMs: number };

/** How often the use of a held value is noted in Redis, in milliseconds: without a note, a hit writes nothing. */
const noteUseMs = 1000;
/** More than any value has, in bytes. */
const anySize = 2 ** 40;

/**
 * Creates the lookups of the store in Redis. Redis is asked for each slot, yet its answer is shared among all who wait
 * for the same one, and it does not send again what this process still holds.
 */
export function createRedisLookups({ keys, trust, run }: Commands, maxBytes: number): CacheStore['lookup'] {
  const share = createSharedLookups<Lookup>();
  const maxSize = maxHeldBytes(maxBytes);
  const held = new LRUCache<string, Held>({
    maxSize,
    sizeCalculation: ({ value }, key) => value.length + key.length + entryOverheadBytes,
  });

  /** Only what begins with its hash is held, since Redis compares no more than that. */
  const hold = (key: string, value: Buffer, words: readonly string[]): Buffer => {
    held.delete(key);
    if (value.length > maxSize || !hasItsHash(value)) return value;
    // A buffer of its own: the one that was received may be part of a larger one.
    const copy = Buffer.allocUnsafeSlow(value.length);
    value.copy(copy);
    held.set(key, { value: copy, words, notedAtMs: performance.now() });
    return copy;
  };

  const lookUp = async (slot: Slot, key: string, largestBytes: number): Promise<Lookup> => {
    if (!trust.isTrusted()) return { kind: 'unavailable' };
    const before = trust.losses();
    const known = held.get(key);
    const notesUse = known === undefined || performance.now() - known.notedAtMs >= noteUseMs;
    try {
      const sent = nonce();
      const words = known?.words ?? wordsOf(slot).slice(1);
      const hash = known?.value.subarray(0, hashBytes) ?? '';
      const args = [sent, ...words, String(largestBytes), hash, notesUse ? '1' : '0'];
      const found = await run(lookupScript, keysOf(keys, slot), args, (reply) =>
        parseFound(reply, sent, known?.value),
      );
      if (trust.losses() !== before) return { kind: 'unavailable' };
      if (found.kind !== 'found') {
        held.delete(key);
        return found;
      }
      if (found.value !== known?.value) return { ...found, value: hold(key, found.value, words) };
      if (notesUse) held.set(key, { value: found.value, words, notedAtMs: performance.now() });
      return found;
    } catch {
      return { kind: 'unavailable' };
    }
  };

  return (slot, largestBytes = anySize) => {
    if (!trust.isTrusted()) return Promise.resolve({ kind: 'unavailable' });
    const key = keys.entry(slot);
    return share(`${largestBytes} ${key}`, () => lookUp(slot, key, largestBytes));
  };
}

/** @param known the value whose hash was sent */
function parseFound(reply: unknown, sent: string, known: Buffer | undefined): Lookup {
  const [ticketBytes, value, echo] = asList(reply);
  if (!Buffer.isBuffer(ticketBytes) || !Buffer.isBuffer(echo) || echo.toString() !== sent)
    throw new ForeignAnswerError();
  const ticket = ticketBytes.toString();
  if (value === null) return { kind: 'absent', ticket };
  if (Buffer.isBuffer(value)) return { kind: 'found', value, ticket };
  if (value === stillSo && known !== undefined) return { kind: 'found', value: known, ticket };
  if (typeof value === 'number' && value >= 0) return { kind: 'large', bytes: value, ticket };
  throw new ForeignAnswerError();
}
