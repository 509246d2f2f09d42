/**
 * Where an answer is kept. `scope` is what a write can change at once (a repository); `item` is what a write names
 * (a tag, a digest), and `variant` tells the answers to one item apart (by Accept).
 */
export type Slot = { readonly scope: string; readonly item: string; readonly variant: string };

/**
 * Proof of the state in which a lookup found its slot. Opaque, and equal only as long as nothing in the scope was
 * written: a fill is refused, and a fetch may not be joined, when it differs.
 */
export type Ticket = string;

export type Lookup =
  /** The stored bytes, or null; and the ticket to fill with. */
  | { readonly kind: 'found'; readonly value: Buffer; readonly ticket: Ticket }
  | { readonly kind: 'absent'; readonly ticket: Ticket }
  /** It has more than the bytes that were asked for at most. */
  | { readonly kind: 'large'; readonly bytes: number; readonly ticket: Ticket }
  /** The store cannot be trusted or reached now: neither answer from it nor fill it. */
  | { readonly kind: 'unavailable' };

/** What one write changes within its scope: named items, or everything. `id` is the write's own, the same at its beginning and its end. */
export type CacheWrite = {
  readonly id: string;
  readonly scope: string;
  readonly items: readonly string[] | 'all';
};

/** `bytes` counts what writes have left, too. */
export type StoreStats = { readonly entries: number; readonly bytes: number };

/**
 * Keeps small answers, least recently used out first. The contract that makes "never stale" true:
 * after `endWrite` has resolved true, no lookup that begins later finds what was stored for a changed item
 * before, and no fill whose ticket is from before lands. No operation rejects, and none takes longer than the
 * store's timeout.
 */
export type CacheStore = {
  /**
   * Leaves nothing behind, whatever is looked for: names that a client makes up cost no memory.
   * @param maxBytes of a larger value only the size is given, by a store that makes a copy for each lookup; left out: any
   */
  lookup(slot: Slot, maxBytes?: number): Promise<Lookup>;
  /**
   * Stores unless the ticket is out of date, a write is under way, or the value is too old. `ageMs` is for how long it
   * may have been out of date already: the time since it was asked for. Gives whether it was stored, and how many were evicted for it.
   */
  fill(
    slot: Slot,
    ticket: Ticket,
    value: Buffer,
    ageMs: number,
  ): Promise<{ stored: boolean; evicted: number }>;
  /** To be called before a write is forwarded: nothing of the items is answered or filled until its end. */
  beginWrite(change: CacheWrite): Promise<boolean>;
  /** To be called before a write's answer is sent. False: it could not be made sure that every instance knows. */
  endWrite(change: CacheWrite): Promise<boolean>;
  /**
   * Forgets what is stored, and gives what is stored from now on another lifetime, in milliseconds. A fill from before does not land,
   * and a write under way stays so.
   */
  clear(ttlMs: number): void;
  /** Whether it answers and fills now; what cannot be is passed by. */
  isUsable(): boolean;
  /** Entries and bytes kept; null when the store cannot be asked. */
  stats(): Promise<StoreStats | null>;
  close(): Promise<void>;
};

export type StoreLimits = {
  readonly maxBytes: number;
  /** How long an entry may be answered after it was asked for, in milliseconds. */
  readonly ttlMs: number;
};

/** What an entry costs besides its value and key, in bytes: the bookkeeping of Redis or of a Map, measured and rounded up. */
export const entryOverheadBytes = 200;

/** How long a write that never ends (its instance died) keeps its scope from being filled, in milliseconds. */
export const abandonedWriteMs = 60_000;

/** What is remembered of one written scope or item costs, in bytes: a field of a hash in Redis, measured and rounded up. */
export const wordBytes = 128;

/** How many bytes remember writes at most, as a part of what the store may take: when there is no room for more, everything is forgotten. */
export function maxWordBytes(maxBytes: number): number {
  return Math.min(1024 * 1024, Math.floor(maxBytes / 8));
}
