import { LRUCache } from 'lru-cache';
import { createSharedLookups } from './shared-lookups.ts';
import type { CacheStore, Lookup, Slot } from './stores/store.ts';

/** Room for values being read from a store, in bytes. */
export type LookupRoom = {
  /** Reserves bytes; false if there are too few. */
  take(bytes: number): boolean;
  give(bytes: number): void;
};

/** The result of a lookup; `crowded`: a large value, and no room for it now. */
export type LookedUp = Exclude<Lookup, { kind: 'large' }> | { readonly kind: 'crowded' };

/** A larger value is read once for all who wait for it, and only if there is room, in bytes. */
export const smallBytes = 16 * 1024;
/** How many large slots are remembered, so that their size is not looked up first. */
const maxKnown = 1000;

/**
 * Creates the lookups of a cache. A store behind a network returns new bytes for each lookup, so many simultaneous
 * lookups of a large value would each hold a copy.
 */
export function createLookups(
  store: Pick<CacheStore, 'lookup'>,
  room: LookupRoom,
): (slot: Slot) => Promise<LookedUp> {
  const known = new LRUCache<string, number>({ max: maxKnown });
  const share = createSharedLookups<LookedUp>();

  const readLarge = async (slot: Slot, key: string, bytes: number): Promise<LookedUp> => {
    if (!room.take(bytes)) return { kind: 'crowded' };
    try {
      const found = await store.lookup(slot, bytes);
      if (found.kind === 'large') {
        known.set(key, found.bytes); // another value was stored meanwhile
        return { kind: 'crowded' };
      }
      if (found.kind !== 'found' || found.value.length <= smallBytes) known.delete(key);
      return found;
    } finally {
      room.give(bytes);
    }
  };

  const join = (slot: Slot, key: string, bytes: number): Promise<LookedUp> =>
    share(key, () => readLarge(slot, key, known.get(key) ?? bytes));

  return async (slot) => {
    const key = keyOf(slot);
    const knownBytes = known.get(key);
    if (knownBytes !== undefined) return join(slot, key, knownBytes);
    const found = await store.lookup(slot, smallBytes);
    if (found.kind !== 'large') return found;
    known.set(key, found.bytes);
    return join(slot, key, found.bytes);
  };
}

/** None of the three can hold a line feed. */
function keyOf({ scope, item, variant }: Slot): string {
  return `${scope}\n${item}\n${variant}`;
}
