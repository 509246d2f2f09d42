import type { TokenEntry, TokenList } from './token-list.ts';
import type { TokenUses } from './token-uses.ts';

const dayMs = 24 * 60 * 60 * 1000;
const unusedDays = 90;
const maxNamed = 5;

/**
 * Says which machine tokens had better go: those that never expire, that have expired, and that nobody has used for 90 days. Of a time before
 * uses were kept nothing is known, and nothing said.
 *
 * @param uses null: not known
 */
export function findStaleTokens({ entries }: TokenList, uses: TokenUses | null, now: Date): string[] {
  const sinceMs = uses?.since == null ? Infinity : Date.parse(uses.since);
  const isExpired = ({ expiresMs }: TokenEntry) => expiresMs !== null && expiresMs <= now.getTime();
  const isUnused = (entry: TokenEntry) => {
    const used = uses?.used.get(entry.principal.name);
    const lastMs = used === undefined ? Math.max(sinceMs, entry.createdMs ?? 0) : Date.parse(used.day);
    return now.getTime() - lastMs > unusedDays * dayMs;
  };
  const all = [...entries.values()];
  const good = all.filter((entry) => !isExpired(entry));
  return [
    ...describe(
      good.filter(({ expiresMs }) => expiresMs === null),
      'never expires',
      'never expire',
      '`tidegate token rotate NAME --expires 90d` sets an expiry',
    ),
    ...describe(
      good.filter(isUnused),
      `has not been used for ${unusedDays} days`,
      `have not been used for ${unusedDays} days`,
      '`tidegate token revoke NAME` ends one',
    ),
    ...describe(
      all.filter(isExpired),
      'has expired',
      'have expired',
      '`tidegate token rotate NAME` renews one, and `tidegate token revoke NAME` takes one out',
    ),
  ];
}

function describe(entries: readonly TokenEntry[], one: string, several: string, fix: string): string[] {
  const names = entries.map(({ principal }) => principal.name);
  const [first, ...others] = names;
  if (first === undefined) return [];
  if (others.length === 0) return [`The machine token ${first} ${one}: ${fix}.`];
  const more = names.length > maxNamed ? `, and ${names.length - maxNamed} more,` : '';
  return [`The machine tokens ${names.slice(0, maxNamed).join(', ')}${more} ${several}: ${fix}.`];
}
