import { unattendedFamilies } from './client-family.ts';
import type { UserDay } from './usage-file.ts';

/** A user that seems to be a machine's, and the evidence as the end of a sentence. */
export type MachineUser = { readonly user: string; readonly evidence: string };

const dayMs = 24 * 60 * 60 * 1000;
/** A younger record says too little. */
export const minRecordDays = 7;
/** Only so far back is looked. */
export const lookBackDays = 30;
/** A user seen on fewer days may just have tried something. */
const minDaysSeen = 3;
const minBusyDays = 5;
/** Nobody types a password so often, and from so many places; nor ever so often, from wherever. */
const jobs = { logins: 50, addresses: 5 };
const maxLoginsOfPeople = 200;

/**
 * Finds users that only machines use: whom only programs that nobody sits in front of served as, or who log in on most
 * days as often, and from as many addresses, as only jobs do. Null: the record is too young to tell.
 */
export function findMachineUsers(
  days: readonly UserDay[],
  { since, asOf }: { since: number; asOf: number },
): MachineUser[] | null {
  if (asOf - since < minRecordDays * dayMs) return null;
  const first = new Date(asOf - lookBackDays * dayMs).toISOString().slice(0, 10);
  const users = new Map<string, UserDay[]>();
  for (const each of days)
    if (each.day >= first) users.set(each.user, [...(users.get(each.user) ?? []), each]);
  return [...users].flatMap(([user, own]) => {
    const evidence = findUnattended(own) ?? findJobs(own);
    return evidence === null ? [] : [{ user, evidence }];
  });
}

function findUnattended(own: readonly UserDay[]): string | null {
  const seen = new Set(own.map(({ day }) => day)).size;
  const families = [...new Set(own.map(({ family }) => family))];
  if (seen < minDaysSeen || !families.every((family) => unattendedFamilies.has(family))) return null;
  return `only ${families.sort().join(', ')} used it, on ${seen} days`;
}

function findJobs(own: readonly UserDay[]): string | null {
  const byDay = new Map<string, { logins: number; addresses: number }>();
  for (const { day, logins, addresses } of own)
    byDay.set(day, { logins: logins + (byDay.get(day)?.logins ?? 0), addresses });
  const busy = [...byDay.values()].filter(
    ({ logins, addresses }) =>
      logins > maxLoginsOfPeople || (logins > jobs.logins && addresses >= jobs.addresses),
  );
  if (busy.length < minBusyDays || busy.length * 2 <= byDay.size) return null;
  const logins = Math.min(...busy.map((day) => day.logins));
  const addresses = Math.min(...busy.map((day) => day.addresses));
  const places = addresses === 1 ? '1 address' : `${addresses} addresses`;
  return `on ${busy.length} of ${byDay.size} days it logged in ${logins} times or more, from ${places} or more`;
}
