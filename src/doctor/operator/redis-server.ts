import type { Cluster, Redis } from 'ioredis';
import { type CacheConfig } from '../../cache/stores/open-store.ts';
import { openRedis } from '../../redis/open.ts';
import { loadRedisCa } from '../../app/pem-files.ts';
import { skipAll, type Check } from '../check.ts';
import { describeFailure } from '../failure.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';

const ids = [
  'redis.reachable',
  'redis.version',
  'redis.memory',
  'redis.eviction',
  'redis.persistence',
  'redis.latency',
] as const;

const readyLimitMs = 5000;
const pings = 5;
const minMajorVersion = 6;

/** The fields of Redis's INFO. */
export type RedisInfo = ReadonlyMap<string, string>;

type CacheSettings = Pick<CacheConfig, 'driver' | 'maxBytes'> & {
  readonly redis: CacheConfig['redis'] & { readonly ca: string | null };
};

/** The checks of the cache's Redis, if configured. */
export function createRedisChecks(cache: CacheSettings): Check[] {
  return [
    {
      ids: [...ids],
      limitMs: 8000,
      fix: 'systemctl status tidegate-redis (or redis-server); is cache.redis.url right?',
      run: async () => {
        if (cache.driver !== 'redis')
          return [skipped(ids[0], `cache.driver is ${cache.driver}: there is no Redis.`)];
        const { ca } = cache.redis;
        const redis = await openRedis(cache.redis, ca === null ? null : (await loadRedisCa(ca)).pem);
        try {
          return await lookAt(redis, cache);
        } finally {
          redis.disconnect();
        }
      },
    },
  ];
}

async function lookAt(redis: Redis | Cluster, cache: CacheSettings): Promise<Finding[]> {
  const { url } = cache.redis;
  const failure = await whenReady(redis);
  if (failure !== null) {
    return [
      broken(
        ids[0],
        `Redis at ${url} cannot be used: ${failure}.`,
        /NOAUTH|WRONGPASS/.test(failure)
          ? 'set cache.redis.username and cache.redis.password to what Redis knows'
          : 'systemctl status tidegate-redis (or redis-server); is cache.redis.url right, and cache.redis.ca?',
      ),
      ...skipAll(ids.slice(1), 'Redis is not reached.'),
    ];
  }
  const reachable = ok(ids[0], `Redis at ${url} is reached.`);
  const latency = judgeRedisLatency(await timePings(redis), cache.redis.timeout);
  const info = await readInfo(redis);
  if (typeof info === 'string') {
    return [
      reachable,
      ...skipAll(
        ids.slice(1, -1),
        `Redis does not let this user run INFO: ${info}.`,
        'give the user +info (see deploy/redis.conf)',
      ),
      latency,
    ];
  }
  return [
    reachable,
    judgeVersion(info),
    judgeMemory(info, cache.maxBytes),
    judgeEviction(info),
    judgePersistence(info),
    latency,
  ];
}

/** Null when commands can be sent, else the reason. */
function whenReady(redis: Redis | Cluster): Promise<string | null> {
  let last = 'no answer came in time';
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(last), readyLimitMs);
    const end = (result: string | null) => {
      clearTimeout(timer);
      resolve(result);
    };
    redis.on('error', (error: Error) => {
      last = 'code' in error ? describeFailure(error) : quoteForeign(error.message);
      end(last);
    });
    redis.once('ready', () => end(null));
  });
}

async function timePings(redis: Redis | Cluster): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < pings; round += 1) {
    const startedMs = performance.now();
    // A user restricted to the cache's commands may not PING; a refusal takes as long.
    await redis.ping().catch(() => '');
    times.push(performance.now() - startedMs);
  }
  return times;
}

async function readInfo(redis: Redis | Cluster): Promise<RedisInfo | string> {
  try {
    return parseRedisInfo(await redis.info());
  } catch (error) {
    return quoteForeign((error as Error).message);
  }
}

/** Parses the text of INFO: `name:value` lines under headings. */
export function parseRedisInfo(text: string): RedisInfo {
  const pairs = [...text.matchAll(/^([A-Za-z]\w*):(.*?)\r?$/gm)];
  return new Map(pairs.map(([, name = '', value = '']) => [name, value]));
}

/** Judges the version, by what Tidegate's scripts need. */
export function judgeVersion(info: RedisInfo): Finding {
  const check = 'redis.version';
  const version = info.get('redis_version') ?? '';
  const major = Number(version.split('.', 1)[0]);
  if (version === '' || Number.isNaN(major)) return skipped(check, 'Redis does not say its version.');
  const shown = quoteForeign(version);
  return major >= minMajorVersion
    ? ok(check, `It is Redis ${shown}.`)
    : warning(
        check,
        `It is Redis ${shown}; Tidegate is tested with 7.`,
        'take Redis 7 or newer (apt-get install redis-server)',
      );
}

/** Judges Redis's limit on its memory against cache.maxBytes. */
export function judgeMemory(info: RedisInfo, maxBytes: number): Finding {
  const check = 'redis.memory';
  const limit = Number(info.get('maxmemory') ?? Number.NaN);
  const wanted = 2 * maxBytes;
  if (Number.isNaN(limit)) return skipped(check, 'Redis does not say how much memory it may take.');
  if (limit === 0) {
    return ok(
      check,
      `Redis has no limit on its memory; Tidegate keeps to cache.maxBytes (${mebibytes(maxBytes)}).`,
      `as a last resort, in redis.conf: maxmemory ${Math.ceil(wanted / 1024 ** 2)}mb`,
    );
  }
  if (limit >= wanted)
    return ok(
      check,
      `Redis may take ${mebibytes(limit)}, enough for cache.maxBytes (${mebibytes(maxBytes)}).`,
    );
  return warning(
    check,
    `Redis may take ${mebibytes(limit)}, less than twice cache.maxBytes (${mebibytes(maxBytes)}): the cache can fill it, and leave no room for locks and counts of wrong passwords.`,
    `in redis.conf: maxmemory ${Math.ceil(wanted / 1024 ** 2)}mb, or a smaller cache.maxBytes`,
  );
}

/** Judges what Redis evicts when full: it also holds locks and counts of wrong passwords. */
export function judgeEviction(info: RedisInfo): Finding {
  const check = 'redis.eviction';
  const policy = info.get('maxmemory_policy');
  const isLimited = Number(info.get('maxmemory') ?? 0) > 0;
  if (policy === undefined) return skipped(check, 'Redis does not say what it evicts.');
  const shown = quoteForeign(policy);
  if (policy === 'noeviction')
    return ok(check, 'Redis evicts nothing (noeviction); the cache keeps to cache.maxBytes by itself.');
  if (!isLimited) return ok(check, `Redis has no limit at which it would evict anything (${shown}).`);
  return warning(
    check,
    `When its memory is full, Redis evicts keys (${shown}): not only cached answers, but also locks of immutable tags and counts of wrong passwords.`,
    'in redis.conf: maxmemory-policy noeviction, with maxmemory at twice cache.maxBytes or more',
  );
}

/** Judges what Redis keeps on disk, which the cache does not need. */
export function judgePersistence(info: RedisInfo): Finding {
  const check = 'redis.persistence';
  const appends = info.get('aof_enabled');
  if (appends === undefined) return skipped(check, 'Redis does not say what it keeps on disk.');
  if (info.get('rdb_last_bgsave_status') === 'err' || info.get('aof_last_write_status') === 'err') {
    return warning(
      check,
      'Redis failed to write to its disk, and may refuse writes until it can (stop-writes-on-bgsave-error).',
      'in redis.conf: save "" and appendonly no, where Redis is for the cache alone; else make room on its disk',
    );
  }
  return appends === '1'
    ? ok(
        check,
        'Redis logs every write to disk, which the cache does not need.',
        'where Redis is for the cache alone, in redis.conf: appendonly no and save ""',
      )
    : ok(check, 'Redis keeps no log of writes, and the cache needs none.');
}

/** Judges how long Redis takes to answer, against cache.redis.timeout; milliseconds. */
export function judgeRedisLatency(times: readonly number[], timeoutMs: number): Finding {
  const check = 'redis.latency';
  const median = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  const shown = `Redis answers in ${median.toFixed(1)} ms`;
  if (median > timeoutMs) {
    return broken(
      check,
      `${shown}, longer than cache.redis.timeout (${timeoutMs} ms): it is not used.`,
      'a Redis nearer by or less busy (redis-cli slowlog get), or a longer cache.redis.timeout',
    );
  }
  if (median > timeoutMs / 2) {
    return warning(
      check,
      `${shown}, more than half of cache.redis.timeout (${timeoutMs} ms).`,
      'redis-cli slowlog get; a longer cache.redis.timeout if it is far away',
    );
  }
  return ok(check, `${shown}.`);
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
