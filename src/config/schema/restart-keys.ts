import { isDeepStrictEqual } from 'node:util';
import { configKeys, readConfigValue } from './key-list.ts';
import type { Config } from './schema.ts';

/** Keys, and groups of keys, whose change needs a restart; all others change with a reload. */
export const restartKeys: readonly string[] = [
  'listen.host',
  'listen.port',
  'listen.httpPort',
  'listen.proxyProtocol',
  'workers',
  'cache.driver',
  'cache.maxBytes',
  'cache.redis',
  // Node reads these two only when it creates the server.
  'limits.headerBytes',
  'limits.handshakeTimeout',
  // Locks outlive a reload, and so do their settings.
  'auth.throttle',
  'clean.socket',
  'clean.collector',
  'console.enabled',
  'admin',
  'log',
  'state',
];

/** Keys in Redis contain upstream's URL: a process with another URL would not learn of the others' writes. */
export const restartKeysWithRedis: readonly string[] = ['upstream.url'];

/** The reference's note on a key; null for one that a reload changes. */
export function describeRestart(path: string): string | null {
  if (covers(restartKeys, path)) return 'A change needs a restart.';
  if (covers(restartKeysWithRedis, path)) return 'A change needs a restart where cache.driver is redis.';
  return null;
}

/** The result of loading a new configuration. */
export type ReloadedConfig = {
  /** The new configuration; keys that need a restart keep the value in effect. */
  readonly config: Config;
  /** The changed keys that take effect, by path. */
  readonly changed: readonly string[];
  /** The changed keys that keep their value until a restart. */
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
