import { LRUCache } from 'lru-cache';
import { countedUpTo } from '../../system/counted.ts';
import { createKeyedHash } from '../keyed-hash.ts';

/** A successful login: a hash of the name, its network, and a keyed hash of the password. */
export type KnownLogin = { readonly nameKey: string; readonly network: string; readonly proof: string };

/**
 * Remembers successful logins, for longer than passwords are accepted without a check: they are checked before others,
 * not skipped.
 */
export type KnownLogins = {
  /** The keyed hash of name, password and htpasswd line: it changes with the line. */
  proofOf(name: string, password: string, hash: string): string;
  /** Whether exactly this was the user's last successful login. */
  isProven(nameKey: string, proof: string): boolean;
  /** Whether this name has logged in from there. */
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
  // One proof per user: whoever knows a password cannot displace those of others with spelling variants.
  const proofs = new LRUCache<string, { proof: string; untilMs: number }>(countedUpTo(maxEntries));
  const networks = new LRUCache<string, number>(countedUpTo(maxEntries));
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
