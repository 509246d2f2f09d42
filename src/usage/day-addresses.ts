import type { UserUse } from './usage-buffer.ts';
import { dayOf } from './usage-writer.ts';

/** Counts the addresses that each user came from today. They stay in memory, and go with the day. */
export type DayAddresses = {
  add(users: readonly UserUse[]): void;
  /** How many are known of each of these users. */
  count(users: readonly UserUse[]): ReadonlyMap<string, number>;
};

/** Beyond them nothing is counted any more. */
const maxUsers = 10_000;
const maxAddresses = 64;

export function createDayAddresses(now: () => number): DayAddresses {
  const known = new Map<string, Set<string>>();
  let knownDay = '';
  return {
    add: (users) => {
      const day = dayOf(now());
      if (day !== knownDay) known.clear();
      knownDay = day;
      for (const { user, addresses } of users) {
        const own = known.get(user) ?? new Set<string>();
        for (const address of addresses) if (own.size < maxAddresses) own.add(address);
        if (known.size < maxUsers || known.has(user)) known.set(user, own);
      }
    },
    count: (users) => new Map(users.map(({ user }) => [user, known.get(user)?.size ?? 0])),
  };
}
