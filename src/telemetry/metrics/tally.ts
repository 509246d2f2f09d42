import type { MetricValue } from './metric-family.ts';

/** Counts events by kind, from a fixed list: nothing that a client sends makes it longer. */
export type Tally = {
  count(kind: string): void;
  /** A value under this label for each kind, also for those without events, and for others if there were any. */
  values(label: string): MetricValue[];
};

/** @param kinds the kinds; anything else counts as `other` */
export function createTally(kinds: readonly string[]): Tally {
  const names = [...kinds, 'other'];
  const indexes = new Map(kinds.map((kind, index) => [kind, index]));
  const counts = new Float64Array(names.length);
  return {
    count: (kind) => {
      const index = indexes.get(kind) ?? kinds.length;
      counts[index] = (counts[index] ?? 0) + 1;
    },
    values: (label) =>
      names
        .map((name, index) => ({ labels: { [label]: name }, value: counts[index] ?? 0 }))
        .filter(({ value }, index) => value > 0 || index < kinds.length),
  };
}
