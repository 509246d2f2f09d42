/** Counts by name, in order of first appearance. */
export type Tally = {
  count(name: string): void;
  of(name: string): number;
  toString(): string;
};

export function createTally(): Tally {
  const counts = new Map<string, number>();
  return {
    count: (name) => counts.set(name, (counts.get(name) ?? 0) + 1),
    of: (name) => counts.get(name) ?? 0,
    toString: () => [...counts].map(([name, count]) => `${count} ${name}`).join(', '),
  };
}
