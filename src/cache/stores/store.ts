/**
 * The place of an answer. `scope` is what a write can change at once (a repository), `item` is what a write names (a
 * tag, a digest), and `variant` distinguishes the answers to one item (by Accept).
 */
export type Slot = { readonly scope: string; readonly item: string; readonly variant: string };

/**
 * Proof of the state in which a lookup found its slot. Opaque, and equal only while nothing in the scope was written.
 * When it differs, a fill is refused, and a fetch may not be joined.
 */
export type Ticket = string;

export type Lookup =
  /** The stored bytes, or null; and the ticket to fill with. */
  | { readonly kind: 'found'; readonly value: Buffer; readonly ticket: Ticket }
  | { readonly kind: 'absent'; readonly ticket: Ticket }
  /** The value is larger than `maxBytes`. */
  | { readonly kind: 'large'; readonly bytes: number; readonly ticket: Ticket }
  /** The store cannot be trusted or reached now: neither serve from it nor fill it. */
  | { readonly kind: 'unavailable' };

/** What one write changes in its scope: named items, or everything. `id` is the same at its beginning and end. */
export type CacheWrite = {
  readonly id: string;
  readonly scope: string;
  readonly items: readonly string[] | 'all';
};

/** `bytes` includes what writes have left. */
export type StoreStats = { readonly entries: number; readonly bytes: number };

/**
 * Stores small answers, and evicts the least recently used. Its contract makes "never stale" true: after `endWrite` has
 * resolved true, no later lookup finds what was stored before for a changed item, and no fill with an older ticket is
 * stored. No operation rejects, and none takes longer than the store's timeout.
 */
export type CacheStore = {
  /**
   * Leaves nothing behind: made-up names cost no memory.
   * @param maxBytes a store that copies for each lookup returns only the size of a larger value; left out: no limit
   */
  lookup(slot: Slot, maxBytes?: number): Promise<Lookup>;
  /**
   * Stores unless the ticket is out of date, a write is in progress, or the value is too old. `ageMs` is the time since
   * it was requested, for which it may have been out of date. Returns whether it was stored, and how many entries were
   * evicted.
   */
  fill(
    slot: Slot,
    ticket: Ticket,
    value: Buffer,
    ageMs: number,
  ): Promise<{ stored: boolean; evicted: number }>;
  /** Call it before a write is forwarded: the items are neither served nor filled until its end. */
  beginWrite(change: CacheWrite): Promise<boolean>;
  /** Call it before a write's answer is sent. False: some instance may not know of it. */
  endWrite(change: CacheWrite): Promise<boolean>;
  /**
   * Empties the store, and sets the lifetime of later entries, in milliseconds. Older fills are refused, and writes in
   * progress stay so.
   */
  clear(ttlMs: number): void;
  /** Whether it serves and fills now; otherwise it is bypassed. */
  isUsable(): boolean;
  /** Entries and bytes; null when the store cannot be reached. */
  stats(): Promise<StoreStats | null>;
  close(): Promise<void>;
};

export type StoreLimits = {
  readonly maxBytes: number;
  /** How long an entry may be served after it was requested, in milliseconds. */
  readonly ttlMs: number;
};

/**
 * The overhead of an entry besides value and key, in bytes: the bookkeeping of Redis or of a Map, measured and rounded
 * up.
 */
export const entryOverheadBytes = 200;

/** How long a write that never ends (its instance died) keeps its scope from being filled, in milliseconds. */
export const abandonedWriteMs = 60_000;

/** The size of the record of one written scope or item, in bytes: a field of a hash in Redis, measured and rounded up. */
export const wordBytes = 128;

/** The part of the store's size that may record writes; when it is full, all records are dropped. */
export function maxWordBytes(maxBytes: number): number {
  return Math.min(1024 * 1024, Math.floor(maxBytes / 8));
}

/** The part of the store's size that a process may hold in memory of what lies in Redis. */
export function maxHeldBytes(maxBytes: number): number {
  return Math.min(8 * 1024 * 1024, Math.floor(maxBytes / 8));
}
