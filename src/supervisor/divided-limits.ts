import type { Config } from '../config/schema/schema.ts';

/** A worker's part of what the configuration allows in all. Redis is one for all, and so is what it may hold. */
export function divideLimits(config: Config): Config {
  const { auth, cache, limits, workers } = config;
  return {
    ...config,
    auth: {
      ...auth,
      passwordThreads: Math.max(1, Math.floor(auth.passwordThreads / workers)),
      passwordQueue: Math.ceil(auth.passwordQueue / workers),
    },
    cache: {
      ...cache,
      maxBytes: cache.driver === 'memory' ? Math.floor(cache.maxBytes / workers) : cache.maxBytes,
    },
    limits: {
      ...limits,
      connections: Math.ceil(limits.connections / workers),
      auditedBytes: Math.floor(limits.auditedBytes / workers),
      connectionsPerUser: Math.ceil(limits.connectionsPerUser / workers),
    },
  };
}
