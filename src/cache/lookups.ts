import { LRUCache } from 'lru-cache';
import type { CacheStore, Lookup, Slot } from './stores/store.ts';

/** Room for values on their way from a store, in bytes. */
export type LookupRoom = {
  /** Takes some; gives false when there is not so much. */
  take(bytes: number): boolean;
  give(bytes: number): void;
};

/** What was found, or `crowded`: it is large, and there is no room for it just now. */
export type LookedUp = Exclude<Lookup, { kind: 'large' }> | { readonly kind: 'crowded' };

/** A larger value is asked for once for all who wait for it, and only where there is room, in bytes. */
export const smallBytes = 16 * 1024;
/** How many large slots are remembered, so that they are not asked for their size first. */
const maxKnown = 1000;

/** The lookup of a large value that is under way, and the one after it, if somebody waits for that. */
type Line = { readonly running: Promise<LookedUp>; next: Promise<LookedUp> | null };

/**
 * Creates the way values are looked up. A store behind a network gives each who asks bytes of their own, so that many who ask for a large
 * one at one moment would hold it as often. Nobody is given what was asked for before he or she came: it could be older than a write that has ended.
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
        known.set(key, found.bytes); // another one was stored meanwhile
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

/** No line feed stands in any of the three. */
function keyOf({ scope, item, variant }: Slot): string {
  return `${scope}\n${item}\n${variant}`;
}
