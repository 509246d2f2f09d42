import { ForeignAnswerError } from '../../redis/trust.ts';
import { createSharedLookups } from '../shared-lookups.ts';
import { asList, keysOf, nonce, wordsOf, type Commands } from './redis-commands.ts';
import { lookupScript } from './redis-scripts.ts';
import type { CacheStore, Lookup, Slot } from './store.ts';

/** More than any value has, in bytes. */
const anySize = 2 ** 40;

/** Creates the lookups of the store in Redis. Redis's answer is shared among all who wait for the same one. */
export function createRedisLookups({ keys, trust, run }: Commands): CacheStore['lookup'] {
  const share = createSharedLookups<Lookup>();

  const lookUp = async (slot: Slot, largestBytes: number): Promise<Lookup> => {
    if (!trust.isTrusted()) return { kind: 'unavailable' };
    const before = trust.losses();
    try {
      const sent = nonce();
      const args = [sent, ...wordsOf(slot).slice(1), String(largestBytes)];
      const found = await run(lookupScript, keysOf(keys, slot), args, (reply) => parseFound(reply, sent));
      return trust.losses() === before ? found : { kind: 'unavailable' };
    } catch {
      return { kind: 'unavailable' };
    }
  };

  return (slot, largestBytes = anySize) => {
    if (!trust.isTrusted()) return Promise.resolve({ kind: 'unavailable' });
    return share(`${largestBytes} ${keys.entry(slot)}`, () => lookUp(slot, largestBytes));
  };
}

function parseFound(reply: unknown, sent: string): Lookup {
  const [ticketBytes, value, echo] = asList(reply);
  if (!Buffer.isBuffer(ticketBytes) || !Buffer.isBuffer(echo) || echo.toString() !== sent)
    throw new ForeignAnswerError();
  const ticket = ticketBytes.toString();
  if (value === null) return { kind: 'absent', ticket };
  if (Buffer.isBuffer(value)) return { kind: 'found', value, ticket };
  if (typeof value === 'number') return { kind: 'large', bytes: value, ticket };
  throw new ForeignAnswerError();
}
