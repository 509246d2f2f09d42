import type { Cluster, Redis } from 'ioredis';
import { type RedisKeys } from '../../redis/keys.ts';
import { runScript } from '../../redis/run-script.ts';
import { flushScript, forgetWordsScript, pageEntries, statsScript } from './redis-scripts.ts';
import { type Script } from '../../redis/run-script.ts';
import type { StoreStats } from './store.ts';

/** More pages than any cache has: the loop ends whatever answers. */
const maxPages = 100_000;

/**
 * Counts entries and bytes in Redis, without those that Redis itself has evicted. Reads page by page, so that no lookup
 * waits long; changes during the count may be missed. @throws Error of Redis
 */
export async function readRedisStats(
  run: (script: Script, keys: string[], args: string[]) => Promise<unknown>,
  { index, words }: RedisKeys,
): Promise<StoreStats> {
  let entries = 0;
  let bytes = 0;
  let wordsBytes = 0;
  let cursor = '0';
  let pages = 0;
  do {
    const page = (await run(statsScript, [index, words], [cursor])) as [Buffer, number, number, number];
    cursor = page[0].toString();
    entries += page[1];
    bytes += page[2];
    wordsBytes = page[3];
    pages += 1;
  } while (cursor !== '0' && pages < maxPages);
  return { entries, bytes: bytes + wordsBytes };
}

/** Invalidates every answer, for all instances at once, then deletes them page by page. @throws Error of Redis */
export async function flushRedis(redis: Redis | Cluster, { epoch, index, words }: RedisKeys): Promise<void> {
  await redis.del(epoch);
  await runScript(redis, forgetWordsScript, [words], []);
  // Ends after as many pages as there were: other instances keep storing.
  let pages = Math.ceil((await redis.zcard(index)) / pageEntries);
  while (pages > 0 && (await runScript(redis, flushScript, [index], [])) !== 0) pages -= 1;
}
