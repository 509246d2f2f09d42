import { createHash } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Script } from './redis-scripts.ts';
import type { Slot } from './store.ts';

/** The names of the cache's keys in Redis. */
export type RedisKeys = {
  readonly epoch: string;
  readonly index: string;
  /** Written only to learn whether Redis takes writes. */
  readonly probe: string;
  /** What writes have left. */
  readonly words: string;
  readonly entry: (slot: Slot) => string;
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

/** Commands whose answer is bytes, which ioredis has and its types leave out. */
type BufferCommands = Record<
  'evalshaBuffer' | 'evalBuffer',
  (script: string, keyCount: number, ...rest: (string | Buffer)[]) => Promise<unknown>
>;

/** Runs a script by its hash, and by its text when Redis does not know it yet. @throws Error as Redis says it. */
export async function runScript(
  redis: Redis | Cluster,
  { text, sha1 }: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
): Promise<unknown> {
  const commands = redis as unknown as BufferCommands;
  try {
    return await commands.evalshaBuffer(sha1, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return commands.evalBuffer(text, keys.length, ...keys, ...args);
  }
}
