import { isDeepStrictEqual } from 'node:util';
import { configKeys, readConfigValue } from './key-list.ts';
import type { Config } from './schema.ts';

/** Keys, and groups of keys, whose change takes effect with the next start: all others do so with a reload. */
export const restartKeys: readonly string[] = [
  'listen.host',
  'listen.port',
  'listen.proxyProtocol',
  'workers',
  'cache.driver',
  'cache.maxBytes',
  'cache.redis',
  // Node takes these two when it makes the server, and not later.
  'limits.headerBytes',
  'limits.handshakeTimeout',
  // Locks outlive a reload, and so do the rules they follow.
  'auth.throttle',
  'admin',
  'log',
];

/** What is in a Redis is kept under upstream's name: there, one process with another name than the rest would not hear of their writes. */
export const restartKeysWithRedis: readonly string[] = ['upstream.url'];

/** What the reference says of a key; null for one that a reload changes. */
export function describeRestart(path: string): string | null {
  if (covers(restartKeys, path)) return 'A change needs a restart.';
  if (covers(restartKeysWithRedis, path)) return 'A change needs a restart where cache.driver is redis.';
  return null;
}

/** What comes of a newly loaded configuration while one is in effect. */
export type ReloadedConfig = {
  /** The new one, with the values in effect of what needs a restart. */
  readonly config: Config;
  /** The keys that differ and can be changed, by path. */
  readonly changed: readonly string[];
  /** The keys that differ and stay as they are. */
  readonly needRestart: readonly string[];
};

/** Merges a newly loaded configuration with the one in effect. */
export function mergeReloaded(inEffect: Config, loaded: Config): ReloadedConfig {
  const fixed = inEffect.cache.driver === 'redis' ? [...restartKeys, ...restartKeysWithRedis] : restartKeys;
  const config = structuredClone<Config>(loaded);
  const changed: string[] = [];
  const needRestart: string[] = [];
  for (const { path, segments, name } of configKeys.values()) {
    const present = readConfigValue(inEffect, segments);
    if (isDeepStrictEqual(present, readConfigValue(loaded, segments))) continue;
    if (!covers(fixed, path)) {
      changed.push(path);
      continue;
    }
    needRestart.push(path);
    (readConfigValue(config, segments.slice(0, -1)) as Record<string, unknown>)[name] = present;
  }
  return { config, changed, needRestart };
}

function covers(keys: readonly string[], path: string): boolean {
  return keys.some((key) => path === key || path.startsWith(`${key}.`));
}
