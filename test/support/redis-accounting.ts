import type { Redis } from 'ioredis';
import { keysUnder } from './redis.ts';

/** The cache's keys in Redis, as Redis reports them. */
export type Accounting = {
  readonly entries: number;
  /** The total length of all values. */
  readonly valueBytes: number;
  /** Entries missing in the index, which eviction would never find. */
  readonly unindexed: number;
  /** The size that the index states, and the sum of its members' sizes. */
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
