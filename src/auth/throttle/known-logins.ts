import { LRUCache } from 'lru-cache';
import { createKeyedHash } from '../keyed-hash.ts';

/** A login that was right: whose (a hash of the name), from where, and with what (a keyed hash). */
export type KnownLogin = { readonly nameKey: string; readonly network: string; readonly proof: string };

/** Remembers who has proven what, for longer than passwords are taken without a check: they are checked before others, not instead. */
export type KnownLogins = {
  /** The keyed hash of a password for a line of the htpasswd file: another line makes it another. */
  proofOf(name: string, password: string, hash: string): string;
  /** Whether exactly this was right the last time that its user succeeded. */
  isProven(nameKey: string, proof: string): boolean;
  /** Whether this name has succeeded from there. */
  hasComeFrom(nameKey: string, network: string): boolean;
  rememberNetwork(nameKey: string, network: string): void;
  remember(login: KnownLogin): void;
};

/**
 * Creates an empty memory; the least recently used goes first.
 *
 * @param options hashKey: as createKeyedHash takes it, one for all processes that share what is remembered; now: a monotonic clock in milliseconds
 */
export function createKnownLogins(options: {
  hashKey: Buffer;
  ttlMs: number;
  maxEntries: number;
  now: () => number;
}): KnownLogins {
  const { hashKey, ttlMs, maxEntries, now } = options;
  const keyedHash = createKeyedHash(hashKey);
  // One proof a user: whoever knows a password cannot push those of others out by writing it in many ways.
  const proofs = new LRUCache<string, { proof: string; untilMs: number }>({ max: maxEntries });
  const networks = new LRUCache<string, number>({ max: maxEntries });
  const rememberNetwork: KnownLogins['rememberNetwork'] = (nameKey, network) => {
    networks.set(`${nameKey} ${network}`, now() + ttlMs);
  };
  return {
    proofOf: (...parts) => keyedHash(parts.map((part) => `${part.length}:${part}`).join('')),
    isProven: (nameKey, proof) => {
      const known = proofs.get(nameKey);
      return known?.proof === proof && now() < known.untilMs;
    },
    hasComeFrom: (nameKey, network) => now() < (networks.get(`${nameKey} ${network}`) ?? -Infinity),
    rememberNetwork,
    remember: ({ nameKey, network, proof }) => {
      proofs.set(nameKey, { proof, untilMs: now() + ttlMs });
      rememberNetwork(nameKey, network);
    },
  };
}
