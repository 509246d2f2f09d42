import { LRUCache } from 'lru-cache';
import {
  abandonedWriteMs,
  entryOverheadBytes,
  maxItemsPerScope,
  type CacheStore,
  type Change,
  type Slot,
  type StoreLimits,
  type Ticket,
} from './store.ts';

/** The state of one scope. A scope that is forgotten gets new numbers, so nothing from before matches. */
type Scope = {
  /** The version of every item that has none of its own. */
  base: number;
  /** Raised by every write: what a fill has to have seen. */
  generation: number;
  readonly versions: Map<string, number>;
  /** Writes under way, and when each is given up. */
  readonly writes: Map<string, number>;
};

type Entry = { readonly value: Buffer; readonly version: number; readonly expiresAtMs: number };

/** How many scopes are remembered at most. */
const maxScopes = 100_000;

/** The embedded store: a map in this process. */
export function createMemoryStore(limits: StoreLimits, now: () => number): CacheStore {
  let { ttlMs } = limits;
  let lastNumber = 0;
  let evicted = 0;
  const scopes = new LRUCache<string, Scope>({ max: maxScopes });
  const entries = new LRUCache<string, Entry>({
    maxSize: limits.maxBytes,
    sizeCalculation: ({ value }, key) => value.length + key.length + entryOverheadBytes,
    disposeAfter: (_entry, _key, reason) => {
      if (reason === 'evict') evicted += 1;
    },
  });

  const scopeOf = (name: string): Scope => {
    const known = scopes.get(name);
    if (known) return known;
    const scope = {
      base: ++lastNumber,
      generation: ++lastNumber,
      versions: new Map<string, number>(),
      writes: new Map<string, number>(),
    };
    scopes.set(name, scope);
    return scope;
  };
  const versionOf = (scope: Scope, item: string) => scope.versions.get(item) ?? scope.base;
  const ticketOf = (scope: Scope, item: string): Ticket => `${versionOf(scope, item)}.${scope.generation}`;

  const supersede = ({ scope: name, items }: Change): Scope => {
    const scope = scopeOf(name);
    scope.generation = ++lastNumber;
    if (items !== 'all') for (const item of items) scope.versions.set(item, ++lastNumber);
    if (items === 'all' || scope.versions.size > maxItemsPerScope) {
      scope.versions.clear();
      scope.base = ++lastNumber;
    }
    return scope;
  };

  return {
    lookup: (slot) => {
      const scope = scopeOf(slot.scope);
      const ticket = ticketOf(scope, slot.item);
      const key = keyOf(slot);
      const entry = entries.get(key);
      if (entry?.version === versionOf(scope, slot.item) && now() < entry.expiresAtMs) {
        return Promise.resolve({ kind: 'found', value: entry.value, ticket });
      }
      if (entry) entries.delete(key);
      return Promise.resolve({ kind: 'absent', ticket });
    },
    fill: (slot, ticket, value, ageMs) => {
      const scope = scopeOf(slot.scope);
      const writing = [...scope.writes.values()].some((untilMs) => now() < untilMs);
      if (writing || ageMs >= ttlMs || ticket !== ticketOf(scope, slot.item))
        return Promise.resolve({ stored: false, evicted: 0 });
      const before = evicted;
      const key = keyOf(slot);
      const expiresAtMs = now() + ttlMs - ageMs;
      entries.set(key, { value, version: versionOf(scope, slot.item), expiresAtMs });
      return Promise.resolve({ stored: entries.has(key), evicted: evicted - before });
    },
    beginWrite: (change) => {
      supersede(change).writes.set(change.id, now() + abandonedWriteMs);
      return Promise.resolve(true);
    },
    endWrite: (change) => {
      supersede(change).writes.delete(change.id);
      return Promise.resolve(true);
    },
    renew: (renewedTtlMs) => {
      ttlMs = renewedTtlMs;
      entries.clear();
      for (const scope of scopes.values()) {
        scope.versions.clear();
        scope.base = ++lastNumber;
        scope.generation = ++lastNumber;
      }
    },
    isUsable: () => true,
    stats: () => Promise.resolve({ entries: entries.size, bytes: entries.calculatedSize }),
    close: () => Promise.resolve(),
  };
}

function keyOf({ scope, item, variant }: Slot): string {
  return `${scope}\n${item}\n${variant}`;
}
