import {
  findViolations,
  type Read,
  type Version,
  type Violation,
  type Write,
} from '../../test/support/cache-history.ts';

type Change = { readonly value: Version; readonly ends?: number };
type Known = {
  readonly writes: Write[];
  /** The start times of the writes and reads in progress. */
  readonly writing: Set<{ readonly startMs: number }>;
  readonly reading: Set<{ readonly startMs: number }>;
  /** Reads that a write in progress may still explain. */
  reads: Read[];
};

/** Checks reads against writes while both go on, and forgets what no longer matters to later reads. */
export type TagOracle = {
  /** Begins a write; the returned function ends it. */
  write(name: string, change: Change): (acknowledged: boolean) => void;
  /** Begins a read; the returned function ends it, with undefined for a failed read. */
  read(name: string): (seen: Pick<Read, 'value' | 'cache'> | undefined) => void;
  /** Checks the reads that can be checked now; returns the stale ones. */
  check(): Violation[];
  /** Forgets all names that begin with this; the last of their reads must have been checked. */
  forget(prefix: string): void;
  readonly reads: number;
};

export function createTagOracle(): TagOracle {
  const names = new Map<string, Known>();
  let reads = 0;
  const know = (name: string): Known => {
    const known = names.get(name) ?? { writes: [], writing: new Set(), reading: new Set(), reads: [] };
    names.set(name, known);
    return known;
  };
  return {
    write: (name, change) => {
      const known = know(name);
      const begun = { startMs: performance.now() };
      known.writing.add(begun);
      return (acknowledged) => {
        known.writing.delete(begun);
        known.writes.push({ ...begun, endMs: performance.now(), acknowledged, ...change });
      };
    },
    read: (name) => {
      const known = know(name);
      const begun = { startMs: performance.now() };
      known.reading.add(begun);
      return (seen) => {
        known.reading.delete(begun);
        if (seen) known.reads.push({ ...begun, endMs: performance.now(), via: 'one', ...seen });
      };
    },
    check: () =>
      [...names].flatMap(([name, known]) => {
        const writingSinceMs = earliest(known.writing);
        const ready = known.reads.filter(({ endMs }) => endMs < writingSinceMs);
        known.reads = known.reads.filter(({ endMs }) => endMs >= writingSinceMs);
        const violations = findViolations({ name, writes: known.writes, reads: ready });
        reads += ready.length;
        dropSuperseded(known);
        return violations;
      }),
    forget: (prefix) => {
      for (const name of names.keys()) if (name.startsWith(prefix)) names.delete(name);
    },
    get reads() {
      return reads;
    },
  };
}

const earliest = (begun: Iterable<{ readonly startMs: number }>): number =>
  Math.min(Infinity, ...[...begun].map(({ startMs }) => startMs));

/** Of acknowledged writes, those that ended before another began that ended before all reads to come: none may give their value. */
function dropSuperseded(known: Known): void {
  const { writes, reading, reads } = known;
  if (writes.length < 2) return;
  const readsFromMs = Math.min(performance.now(), earliest(reading), earliest(reads));
  const whole = writes.filter(
    ({ acknowledged, ends, endMs }) => acknowledged && ends === undefined && endMs < readsFromMs,
  );
  const lastStartMs = Math.max(-Infinity, ...whole.map(({ startMs }) => startMs));
  const kept = writes.filter(({ acknowledged, endMs }) => !acknowledged || endMs >= lastStartMs);
  writes.splice(0, writes.length, ...kept);
}
