import { LRUCache } from 'lru-cache';
import {
  abandonedWriteMs,
  entryOverheadBytes,
  maxWordBytes,
  wordBytes,
  type CacheStore,
  type CacheWrite,
  type Slot,
  type StoreLimits,
  type Ticket,
} from './store.ts';

type Entry = { readonly value: Buffer; readonly version: number; readonly expiresAtMs: number };

/**
 * Records when each scope and item was last written, as an increasing number. An item that was never written has the
 * number of the beginning.
 */
type WriteLog = {
  /** The version of an item: higher after each write that changes it. */
  version(scope: string, item: string): number;
  /** Higher after each write in the scope: a fill must have seen it. */
  generation(scope: string): number;
  note(change: CacheWrite): void;
  /** Renews every version and generation. */
  restart(): void;
  bytes(): number;
};

/** Only writes add to it. When it would exceed `maxBytes` it starts afresh, and nothing older matches. */
function createWriteLog(maxBytes: number): WriteLog {
  const words = new Map<string, number>();
  let last = 0;
  let beginning = 0;
  let bytes = 0;
  const set = (key: string) => {
    if (!words.has(key)) bytes += key.length + wordBytes;
    words.set(key, ++last);
  };
  const restart = () => {
    words.clear();
    bytes = 0;
    beginning = ++last;
  };
  return {
    version: (scope, item) =>
      Math.max(beginning, words.get(`all ${scope}`) ?? 0, words.get(`item ${scope}\n${item}`) ?? 0),
    generation: (scope) => Math.max(beginning, words.get(`any ${scope}`) ?? 0),
    note: ({ scope, items }) => {
      set(`any ${scope}`);
      if (items === 'all') set(`all ${scope}`);
      else for (const item of items) set(`item ${scope}\n${item}`);
      if (bytes > maxBytes) restart();
    },
    restart,
    bytes: () => bytes,
  };
}

/** The embedded store: a map in this process. */
export function createMemoryStore({ maxBytes, ...limits }: StoreLimits, now: () => number): CacheStore {
  let { ttlMs } = limits;
  let evicted = 0;
  const written = createWriteLog(maxWordBytes(maxBytes));
  /** Writes in progress, in the order of their beginnings, with scope and time of abandonment. */
  const writes = new Map<string, { readonly scope: string; readonly untilMs: number }>();
  const entries = new LRUCache<string, Entry>({
    maxSize: maxBytes,
    sizeCalculation: ({ value }, key) => value.length + key.length + entryOverheadBytes,
    disposeAfter: (_entry, _key, reason) => {
      if (reason === 'evict') evicted += 1;
    },
  });

  const ticketOf = (scope: string, item: string): Ticket =>
    `${written.version(scope, item)}.${written.generation(scope)}`;
  const makeRoom = () => {
    while (entries.size > 0 && entries.calculatedSize + written.bytes() > maxBytes) entries.pop();
  };
  const supersede = (change: CacheWrite) => {
    written.note(change);
    makeRoom();
  };
  /** A write whose instance has died never ends. */
  const giveUp = () => {
    for (const [id, { untilMs }] of writes) {
      if (now() < untilMs) return;
      writes.delete(id);
    }
  };

  return {
    lookup: (slot) => {
      const { scope, item } = slot;
      const ticket = ticketOf(scope, item);
      const key = keyOf(slot);
      const entry = entries.get(key);
      if (entry?.version === written.version(scope, item) && now() < entry.expiresAtMs) {
        return Promise.resolve({ kind: 'found', value: entry.value, ticket });
      }
      if (entry) entries.delete(key);
      return Promise.resolve({ kind: 'absent', ticket });
    },
    fill: (slot, ticket, value, ageMs) => {
      giveUp();
      const { scope } = slot;
      const writing = [...writes.values()].some((write) => write.scope === scope);
      if (writing || ageMs >= ttlMs || ticket !== ticketOf(scope, slot.item))
        return Promise.resolve({ stored: false, evicted: 0 });
      const before = evicted;
      const key = keyOf(slot);
      const expiresAtMs = now() + ttlMs - ageMs;
      entries.set(key, { value, version: written.version(scope, slot.item), expiresAtMs });
      makeRoom();
      return Promise.resolve({ stored: entries.has(key), evicted: evicted - before });
    },
    beginWrite: (change) => {
      giveUp();
      supersede(change);
      writes.set(change.id, { scope: change.scope, untilMs: now() + abandonedWriteMs });
      return Promise.resolve(true);
    },
    endWrite: (change) => {
      supersede(change);
      writes.delete(change.id);
      return Promise.resolve(true);
    },
    clear: (renewedTtlMs) => {
      ttlMs = renewedTtlMs;
      entries.clear();
      written.restart();
    },
    isUsable: () => true,
    stats: () => Promise.resolve({ entries: entries.size, bytes: entries.calculatedSize + written.bytes() }),
    close: () => Promise.resolve(),
  };
}

function keyOf({ scope, item, variant }: Slot): string {
  return `${scope}\n${item}\n${variant}`;
}
