import type { User } from '../../registry/principal.ts';
import { createCredentialCache } from '../credential-cache.ts';

const tokenForm = /^token +(\S.*)$/i;

/** The value after `Token ` in an Authorization header of the first registry protocol; undefined for any other scheme. */
export function parseTokenCredentials(value: string): string | undefined {
  return tokenForm.exec(value)?.[1];
}

/** A token that upstream issued through one worker, for the others; `hash` is that of the user's line at the time. */
export type V1TokenNotice = { readonly token: string; readonly name: string; readonly hash: string };

/** The tokens that upstream issued to verified users in X-Docker-Token; only their keyed hashes are kept. */
export type V1Tokens = {
  /** Remembers a token, character for character as upstream issued it. */
  remember(token: string, principal: User): void;
  /** The subject of a token, until `ttlMs` after it was issued. */
  find(token: string): User | undefined;
  clear(): void;
};

/** Creates an empty store of at most `maxTokens`; `now` is a monotonic clock in milliseconds. */
export function createV1Tokens(options: { ttlMs: number; maxTokens: number; now: () => number }): V1Tokens {
  const { ttlMs, maxTokens, now } = options;
  const cache = createCredentialCache({ ttlMs, maxEntries: maxTokens, now });
  return {
    remember: (token, principal) => cache.remember(cache.keyOf(token.trim()), principal),
    find: (token) => cache.get(cache.keyOf(token.trim())),
    clear: () => cache.clear(),
  };
}
