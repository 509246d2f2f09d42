import type { Redis } from 'ioredis';
import { keysUnder } from './redis.ts';

/** What the cache has in Redis, as Redis itself says it. */
export type Accounting = {
  readonly entries: number;
  /** The lengths of all values. */
  readonly valueBytes: number;
  /** Entries that the index does not know: nothing makes room by dropping them. */
  readonly unindexed: number;
  /** What the index says it holds, and the sum of what its members say. */
  readonly total: number;
  readonly memberSum: number;
};

export async function readAccounting(admin: Redis, keyPrefix: string): Promise<Accounting> {
  const all = await keysUnder(admin, keyPrefix);
  const entryKeys = all.filter((key) => key.includes('}:entry:'));
  const indexKey = all.find((key) => key.endsWith('}:index'));
  const lengths = await Promise.all(entryKeys.map((key) => admin.strlen(key)));
  const members = indexKey === undefined ? [] : await admin.zrange(indexKey, 0, -1);
  const sizes = new Map(
    members
      .filter((member) => member !== '#')
      .map((member) => [member.slice(member.indexOf('|') + 1), Number.parseInt(member, 10)]),
  );
  return {
    entries: entryKeys.length,
    valueBytes: lengths.reduce((sum, length) => sum + length, 0),
    unindexed: entryKeys.filter((key) => !sizes.has(key)).length,
    total: indexKey === undefined ? 0 : -Number(await admin.zscore(indexKey, '#')),
    memberSum: members.reduce((sum, member) => sum + (member === '#' ? 0 : Number.parseInt(member, 10)), 0),
  };
}
