import { LRUCache } from 'lru-cache';
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

/** The running lookup of a large value, and the next one if somebody waits for it. */
type Line = { readonly running: Promise<LookedUp>; next: Promise<LookedUp> | null };

/**
 * Creates the lookups of a cache. A store behind a network returns new bytes for each lookup, so many simultaneous
 * lookups of a large value would each hold a copy. A lookup that began earlier is never joined: its value could be
 * older than a write that has ended.
 */
export function createLookups(
  store: Pick<CacheStore, 'lookup'>,
  room: LookupRoom,
): (slot: Slot) => Promise<LookedUp> {
  const known = new LRUCache<string, number>({ max: maxKnown });
  const lines = new Map<string, Line>();

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

  const begin = (key: string, ask: () => Promise<LookedUp>): Promise<LookedUp> => {
    const running = ask();
    const line: Line = { running, next: null };
    lines.set(key, line);
    const end = () => {
      if (lines.get(key) === line && line.next === null) lines.delete(key);
    };
    void running.then(end, end);
    return running;
  };

  const join = (slot: Slot, key: string, bytes: number): Promise<LookedUp> => {
    const ask = () => readLarge(slot, key, known.get(key) ?? bytes);
    const line = lines.get(key);
    if (line === undefined) return begin(key, ask);
    const start = () => begin(key, ask);
    line.next ??= line.running.then(start, start);
    return line.next;
  };

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
