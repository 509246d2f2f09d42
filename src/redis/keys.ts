import { createHash } from 'node:crypto';

/** Where one cached answer lies. */
type EntryName = { readonly scope: string; readonly item: string; readonly variant: string };

/** The names of all keys in Redis but the lock-outs'. */
export type RedisKeys = {
  readonly epoch: string;
  readonly index: string;
  /** Written only to learn whether Redis takes writes. */
  readonly probe: string;
  /** What writes have left. */
  readonly words: string;
  readonly entry: (name: EntryName) => string;
  /** Who writes to a repository's immutable tags. */
  readonly lock: (repository: string) => string;
  /** Who deletes in a repository. */
  readonly deletion: (repository: string) => string;
  /** The instances that share it, by when they were last heard of. */
  readonly instances: string;
  /** What they tell each other of deletes. */
  readonly freezes: string;
};

/** Upstreams do not share entries. The braces keep all keys of one in one slot of a cluster, which its scripts need. */
export function createRedisKeys(keyPrefix: string, upstreamUrl: string): RedisKeys {
  const upstreamId = createHash('sha256').update(upstreamUrl).digest('hex').slice(0, 16);
  const prefix = `${keyPrefix}{${upstreamId}}:`;
  return {
    epoch: `${prefix}epoch`,
    index: `${prefix}index`,
    probe: `${prefix}probe`,
    words: `${prefix}words`,
    entry: ({ scope, item, variant }) => `${prefix}entry:${scope}\n${item}\n${variant}`,
    lock: (repository) => `${prefix}lock:${repository}`,
    deletion: (repository) => `${prefix}delete:${repository}`,
    instances: `${prefix}instances`,
    freezes: `${prefix}freezes`,
  };
}
