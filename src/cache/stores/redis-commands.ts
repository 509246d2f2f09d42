import { createHash, randomFillSync } from 'node:crypto';
import type { RedisKeys } from '../../redis/keys.ts';
import type { Script } from '../../redis/run-script.ts';
import type { RedisTrust } from '../../redis/trust.ts';
import type { Slot } from './store.ts';

/** Runs the store's operations. */
export type Commands = {
  readonly keys: RedisKeys;
  readonly trust: RedisTrust;
  /** Runs a script. A reply that `parse` refuses ends the trust, as a missing one does. @throws Error after that. */
  readonly run: <T>(
    script: Script,
    names: string[],
    args: (string | Buffer)[],
    parse: (reply: unknown) => T,
  ) => Promise<T>;
};

export const asList = (reply: unknown): readonly unknown[] => (Array.isArray(reply) ? reply : []);

export function keysOf(keys: RedisKeys, slot: Slot): string[] {
  return [keys.epoch, keys.words, keys.entry(slot), keys.index];
}

const nonceBytes = 8;
/** Random bytes for the next nonces: many at once cost less. */
const randomness = Buffer.alloc(4096);
let usedBytes = randomness.length;

export function nonce(): string {
  if (usedBytes === randomness.length) {
    randomFillSync(randomness);
    usedBytes = 0;
  }
  return randomness.toString('hex', usedBytes, (usedBytes += nonceBytes));
}

/** Shortens every scope and item to 96 bits of a hash. A collision costs only an entry. */
function shorten(...names: string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('base64url').slice(0, 16);
}

export function scopeWords(scope: string): readonly [scope: string, any: string, all: string] {
  const short = shorten(scope);
  return [short, `any:${short}`, `all:${short}`];
}

export function itemWord(scope: string, item: string): string {
  return `item:${shorten(scope, item)}`;
}

export function wordsOf({ scope, item }: Slot): readonly string[] {
  return [...scopeWords(scope), itemWord(scope, item)];
}
