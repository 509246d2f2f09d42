import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { OperatorError } from '../system/operator-error.ts';
import { createRedisAnswerGuard } from './answer-guard.ts';

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

/**
 * The longest pause between two attempts to connect, in milliseconds: instances should find a Redis that is back at
 * about the same time.
 */
const maxReconnectMs = 300;
const closeTimeoutMs = 100;
/**
 * A connection that is not ready within this time is replaced, in milliseconds: something in between may swallow the
 * answers.
 */
const handshakeTimeoutMs = 2000;
const defaultPorts = { '': 6379, '-sentinel': 26379, '-cluster': 6379 } as const;
const urlForm = /^redis(s?)(|-sentinel|-cluster):\/\/([^/?@]+)(?:\/(\d+)?)?(?:\?name=([\w.-]+))?$/;

/** The parts of a Redis URL. */
export type RedisUrl = {
  readonly secure: boolean;
  readonly mode: keyof typeof defaultPorts;
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly db: number;
  /** The sentinels' name of the group. */
  readonly name: string;
};

/** Parses {@link RedisConnectionOptions.url}. @throws OperatorError when it has none of its forms. */
export function parseRedisUrl(url: string): RedisUrl {
  const [, secure, mode = '', hosts = '', db, name] = urlForm.exec(url) ?? [];
  const known = mode as keyof typeof defaultPorts;
  const nodes = hosts.split(',').map((host) => parseNode(host, defaultPorts[known]));
  const refuse = (problem: string) => {
    throw new OperatorError(
      `cache.redis.url is ${url}: ${problem}; write redis://HOST:PORT/DB, redis-sentinel://HOST:PORT,HOST:PORT/DB?name=NAME or redis-cluster://HOST:PORT,HOST:PORT.`,
    );
  };
  for (const { host, port } of nodes) {
    if (host === '' || port < 1 || port > 65535) refuse('a host with a port from 1 to 65535 is needed');
  }
  if (mode === '' && nodes.length > 1) refuse('one server has one host');
  if (mode === '-cluster' && db !== undefined && db !== '0') refuse('a cluster has no numbered databases');
  if (mode !== '-sentinel' && name !== undefined) refuse('only sentinels know a name');
  return { secure: secure === 's', mode: known, nodes, db: Number(db ?? '0'), name: name ?? 'mymaster' };
}

/**
 * Opens the connection in the background: commands fail at once until it is ready, and are never sent twice. @throws
 * OperatorError when the URL is not valid.
 */
export function connectRedis(options: RedisConnectionOptions): Redis | Cluster {
  const redis = openConnection(options);
  redis.on('error', () => {}); // ioredis reconnects
  if (redis instanceof Cluster) redis.on('+node', contain);
  else contain(redis);
  return redis;
}

function contain(redis: Redis): void {
  gatherCommands(redis);
  containAnswers(redis);
  containErrors(redis);
  limitHandshake(redis);
}

/** Sends the commands that follow one event in one write: it costs more than a command. */
function gatherCommands(redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis;
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    let isGathering = false;
    const send = () => {
      isGathering = false;
      stream.uncork();
    };
    stream.write = (...args: unknown[]) => {
      if (!isGathering) {
        isGathering = true;
        stream.cork();
        process.nextTick(send);
      }
      return write(...args);
    };
  });
}

/** Ends a connection whose handshake gets no answer. ioredis limits only the time to connect, and would wait for ever. */
function limitHandshake(redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis;
    const isSilent = () => stream.destroy(new Error('it accepts connections and does not answer'));
    const timer = setTimeout(isSilent, handshakeTimeoutMs).unref();
    const done = () => {
      clearTimeout(timer);
      redis.off('ready', done);
      stream.off('close', done);
    };
    redis.on('ready', done);
    stream.on('close', done);
  });
}

/**
 * Listens to a socket's errors after the first, which ioredis does not. A TLS server whose certificate was refused may
 * still send bytes, and bytes that are not TLS would end this process.
 */
function containErrors(redis: Redis): void {
  redis.on('error', () => {
    // Undefined before there is a connection, whatever its type says.
    const stream = redis.stream as Redis['stream'] | undefined;
    stream?.on('error', () => {});
  });
}

/**
 * Ends a connection on which something came that no Redis answers here, or on which ioredis throws. ioredis would throw
 * out of the socket's event and end this process: for more answers than commands, lists nested deeper than the stack,
 * or an impossibly long list.
 */
function containAnswers(redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis;
    const guard = createRedisAnswerGuard();
    const emit = stream.emit.bind(stream) as (...event: unknown[]) => boolean;
    stream.emit = (...event: unknown[]) => {
      if (event[0] !== 'data') return emit(...event);
      try {
        guard.look(event[1] as Buffer);
        return emit(...event);
      } catch (error) {
        stream.destroy(error as Error);
        return true;
      }
    };
  });
}

function openConnection(options: RedisConnectionOptions): Redis | Cluster {
  const { secure, mode, nodes, db, name } = parseRedisUrl(options.url);
  const tls = options.ca === null ? {} : { ca: options.ca };
  const common: RedisOptions = {
    ...(secure ? { tls } : {}),
    ...(options.username === null ? {} : { username: options.username }),
    ...(options.password === null ? {} : { password: options.password }),
    connectTimeout: options.connectTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    disconnectTimeout: closeTimeoutMs,
    // A primary that has become a replica answers READONLY: look for the new primary.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
  };
  switch (mode) {
    case '-cluster':
      return new Cluster([...nodes], {
        redisOptions: common,
        enableOfflineQueue: false,
        // Outside of it an error of any kind, such as NOSCRIPT, would come as one of too many redirections.
        enableAutoPipelining: true,
        // Sent outside of the pipeline, whose earlier commands may lack an answer.
        autoPipeliningIgnoredCommands: ['del'],
        clusterRetryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
        // A redirection to another node, which may be behind, is a failure; the refresh finds that node.
        maxRedirections: 0,
        slotsRefreshInterval: 1000,
      });
    case '-sentinel':
      return new Redis({
        ...common,
        sentinels: [...nodes],
        name,
        db,
        enableTLSForSentinelMode: secure,
        ...(secure ? { sentinelTLS: tls } : {}),
        sentinelCommandTimeout: handshakeTimeoutMs,
        sentinelRetryStrategy: (attempt) => Math.min(attempt * 50, maxReconnectMs),
      });
    case '':
      return new Redis({ ...common, ...nodes[0], db });
  }
}

/** A host with an optional port; IPv6 in brackets. */
function parseNode(text: string, defaultPort: number): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text) ?? [];
  return { host: bracketed ?? plain ?? '', port: port === undefined ? defaultPort : Number(port) };
}
