import { createHash } from 'node:crypto';

/** The key of one cached answer. */
type EntryName = { readonly scope: string; readonly item: string; readonly variant: string };

/** The names of all keys in Redis, except those of lock-outs. */
export type RedisKeys = {
  readonly epoch: string;
  readonly index: string;
  /** Written only to test whether Redis accepts writes. */
  readonly probe: string;
  /** What writes have left. */
  readonly words: string;
  readonly entry: (name: EntryName) => string;
  /** The lock of writes to a repository's immutable tags. */
  readonly lock: (repository: string) => string;
  /** The lock of deletes in a repository. */
  readonly deletion: (repository: string) => string;
  /** The lock of orders for a certificate. */
  readonly certificate: (hosts: string) => string;
  /** The challenges of a CA that wait for its check, and which instances answer them. */
  readonly challenges: string;
  readonly challengesAnswered: string;
  /** The instances that share it, by when they last registered. */
  readonly instances: string;
  /** Their messages about deletes. */
  readonly freezes: string;
};

/** Upstreams do not share entries. The braces put all keys of one upstream in one slot of a cluster, as scripts require. */
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
    certificate: (hosts) => `${prefix}certificate:${hosts}`,
    challenges: `${prefix}challenges`,
    challengesAnswered: `${prefix}challenges-answered`,
    instances: `${prefix}instances`,
    freezes: `${prefix}freezes`,
  };
}
