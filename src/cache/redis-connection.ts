import { Cluster, Redis, type RedisOptions } from 'ioredis';

export type RedisConnectionOptions = {
  /**
   * `redis://host:port/db`, `redis-sentinel://host:port,host:port/db?name=mymaster`, or `redis-cluster://host:port,…`;
   * each with TLS as `rediss…`. Checked by the configuration.
   */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  /** PEM certificates to trust instead of the system's, for TLS; null for the system's. */
  readonly ca: string | null;
  readonly connectTimeoutMs: number;
};

/** The longest pause between two attempts to connect, in milliseconds: instances are to find a Redis that is back at about the same time. */
const maxReconnectMs = 300;
const closeTimeoutMs = 100;
const defaultPorts = { '': 6379, '-sentinel': 26379, '-cluster': 6379 } as const;
const urlForm = /^redis(s?)(|-sentinel|-cluster):\/\/([^/?]+)(?:\/(\d+)?)?(?:\?name=([\w.-]+))?$/;

/** Opens the connection, in the background: commands fail at once until it is ready, and are never sent twice. */
export function connectRedis(options: RedisConnectionOptions): Redis | Cluster {
  const [, secure = '', mode = '', hosts = '', db = '0', name = 'mymaster'] = urlForm.exec(options.url) ?? [];
  const nodes = hosts
    .split(',')
    .map((host) => parseNode(host, defaultPorts[mode as keyof typeof defaultPorts]));
  const tls = options.ca === null ? {} : { ca: options.ca };
  const common: RedisOptions = {
    ...(secure === '' ? {} : { tls }),
    ...(options.username === null ? {} : { username: options.username }),
    ...(options.password === null ? {} : { password: options.password }),
    connectTimeout: options.connectTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: true,
    // Not to be held up by the pipeline before it that has no answer.
    autoPipeliningIgnoredCommands: ['del'],
    disconnectTimeout: closeTimeoutMs,
    // A replica that was a primary until just now answers READONLY: look for the primary again.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
  };
  switch (mode) {
    case '-cluster':
      return new Cluster(nodes, {
        redisOptions: { ...common, enableAutoPipelining: false },
        enableOfflineQueue: false,
        enableAutoPipelining: true,
        clusterRetryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
        autoPipeliningIgnoredCommands: ['del'],
        // Another node, which may be behind, is a failure, not to be followed in silence; it is found by the refresh.
        maxRedirections: 0,
        slotsRefreshInterval: 1000,
      });
    case '-sentinel':
      return new Redis({
        ...common,
        sentinels: nodes,
        name,
        db: Number(db),
        enableTLSForSentinelMode: secure !== '',
        ...(secure === '' ? {} : { sentinelTLS: tls }),
        sentinelRetryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
      });
    default:
      return new Redis({ ...common, ...nodes[0], db: Number(db) });
  }
}

/** A host with an optional port; IPv6 in brackets. */
function parseNode(text: string, defaultPort: number): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
  return { host: bracketed ?? plain ?? '', port: port === undefined ? defaultPort : Number(port) };
}
