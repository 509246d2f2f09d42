import { LRUCache } from 'lru-cache';
import { countedUpTo } from '../system/counted.ts';
import type { User } from '../registry/principal.ts';
import { createKeyedHash } from './keyed-hash.ts';

/** Remembers verified credentials under a keyed hash only; never keeps refused ones. */
export type CredentialCache = {
  /** The key of these parts, in this order: HMAC-SHA256 under a random key of this cache. */
  readonly keyOf: (...parts: readonly string[]) => string;
  get(key: string): User | undefined;
  remember(key: string, principal: User): void;
  clear(): void;
};

/**
 * Creates an empty cache, which evicts the least recently used entry.
 *
 * @param options ttlMs: counted from when an entry was stored, not last used; now: a monotonic clock in milliseconds
 */
export function createCredentialCache(options: {
  ttlMs: number;
  maxEntries: number;
  now: () => number;
}): CredentialCache {
  const { ttlMs, maxEntries, now } = options;
  const keyedHash = createKeyedHash();
  const remembered = new LRUCache<string, { principal: User; expiresAtMs: number }>(countedUpTo(maxEntries));
  return {
    keyOf(...parts) {
      // Each part's length precedes it: otherwise ("ab", "c") and ("a", "bc") would be one key.
      let text = '';
      for (const part of parts) text += `${part.length}:${part}`;
      return keyedHash(text);
    },
    get(key) {
      const found = remembered.get(key);
      if (found === undefined) return undefined;
      if (now() < found.expiresAtMs) return found.principal;
      remembered.delete(key);
      return undefined;
    },
    remember(key, principal) {
      remembered.set(key, { principal, expiresAtMs: now() + ttlMs });
    },
    clear() {
      remembered.clear();
    },
  };
}
