import type { Config } from '../config/schema/schema.ts';

/** Divides the limits of the configuration among the workers. A Redis is shared, and so is its size limit. */
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
