import { lookup } from 'node:dns/promises';
import type { CacheConfig } from '../../cache/stores/open-store.ts';
import type { Check } from '../check.ts';
import { broken, ok, skipped, type Finding } from '../finding.ts';
import { findExposure, outerAddresses } from './listening-sockets.ts';
import { isLoopback } from './loopback.ts';
import { exchangePlainly } from '../client/connection/plain-exchange.ts';

const check = 'redis.exposed';
const defaultPort = 6379;

/** Checks whether other machines can write to the cache's Redis, if it runs here. */
export function createRedisExposureChecks(cache: Pick<CacheConfig, 'driver' | 'redis'>): Check[] {
  if (cache.driver !== 'redis') return [];
  return [
    {
      ids: [check],
      limitMs: 8000,
      fix: 'in redis.conf: bind 127.0.0.1 -::1',
      run: async (signal) => {
        const place = readPlace(cache.redis.url);
        const address = place === null ? null : (await lookup(place.host)).address;
        if (
          place === null ||
          address === null ||
          !(isLoopback(address) || outerAddresses().includes(address))
        ) {
          return [skipped(check, 'Redis is on other machines, so who can reach it is not seen from here.')];
        }
        const { reached } = await findExposure(place.port, signal);
        const replies = await Promise.all(
          reached.map((host) => exchangePlainly({ host, port: place.port }, 'PING\r\n', signal, isLine)),
        );
        return [judgeRedisExposure(new Map(reached.map((host, index) => [host, replies[index] ?? ''])))];
      },
    },
  ];
}

/** Judges the answer of Redis to a PING without a password at this machine's outer addresses. */
export function judgeRedisExposure(replies: ReadonlyMap<string, string>): Finding {
  const open = [...replies].filter(([, reply]) => reply.startsWith('+PONG')).map(([address]) => address);
  if (open.length > 0) {
    return broken(
      check,
      `Redis can be used at ${open.join(', ')} without a password: anyone in that network can change what a tag pulls.`,
      'in redis.conf: bind 127.0.0.1 -::1 (or a password, and TLS: see deploy/redis.conf)',
    );
  }
  return replies.size === 0
    ? ok(check, 'Redis cannot be reached from other machines.')
    : ok(check, `Redis can be reached at ${[...replies.keys()].join(', ')}, but not without a password.`);
}

/** One server's host and port; null for sentinels and clusters, which are several machines. */
function readPlace(url: string): { readonly host: string; readonly port: number } | null {
  if (!/^rediss?:\/\//.test(url)) return null;
  const { hostname, port } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) };
}

function isLine(answer: string): boolean {
  return answer.endsWith('\r\n');
}
