import { randomBytes } from 'node:crypto';
import type { CacheStore, Slot, Ticket } from '../../src/cache/stores/store.ts';

/**
 * Upstream as the stores' clients see it: one newest version per item. A version is a number that only grows, so that
 * the history is checked with a comparison: what an answer shows is at least the newest that had been acknowledged
 * when its request began.
 */
export type History = {
  readonly operations: number;
  readonly hits: number;
  readonly misses: number;
  readonly bypasses: number;
  readonly writes: number;
  /** Writes whose start or end could not be announced to the store. */
  readonly untold: number;
  /** Older answers that were allowed. */
  readonly excused: number;
  readonly violations: readonly string[];
};

export type HistoryOptions = {
  readonly stores: readonly CacheStore[];
  readonly random: () => number;
  /** How many items there are: many, so that some are not written again before an older answer is asked for. */
  readonly itemCount: number;
  /** How many clients of each store read, and how many write. */
  readonly readers: number;
  readonly writers: number;
  /** Ends the run. */
  readonly signal: AbortSignal;
  /** A write that could not be announced to the store is never acknowledged: its process has ended. */
  readonly untoldIsLost?: boolean;
  /** Whether `reader`, when its request begins, may miss what `writer` could not announce. */
  readonly excuse?: (writer: number, reader: number) => boolean;
};

const scopeCount = 4;

/** Reads and writes like an answer cache, with delays at each step, until the signal. */
export async function recordHistory({
  stores,
  random,
  itemCount,
  readers,
  writers,
  signal,
  untoldIsLost = false,
  excuse = () => false,
}: HistoryOptions): Promise<History> {
  const items = Array.from({ length: itemCount }, (_, i) => ({
    slot: { scope: `scope${i % scopeCount}`, item: `tag${i}`, variant: '' } satisfies Slot,
    current: 0,
    acknowledged: 0,
    /** The store that had to announce the newest acknowledged version, and whether it could. */
    by: { writer: -1, told: true },
  }));
  let lastVersion = 0;
  let hits = 0;
  let misses = 0;
  let bypasses = 0;
  let writes = 0;
  let untold = 0;
  let excused = 0;
  const violations: string[] = [];
  const flights = stores.map(() => new Map<string, { ticket: Ticket; version: Promise<number> }>());
  const pick = () => {
    const item = items[Math.floor(random() ** 2 * itemCount)];
    if (!item) throw new Error('no item');
    return item;
  };
  /** Yields, sometimes for some milliseconds, as upstream and the network take time. */
  const pause = async () => {
    const point = random();
    if (point < 0.3) return;
    await new Promise((resolve) =>
      point < 0.8 ? setImmediate(resolve) : setTimeout(resolve, random() * (point < 0.97 ? 4 : 25)),
    );
  };

  const read = async (reader: number, store: CacheStore) => {
    const item = pick();
    const newest = item.acknowledged;
    const { writer, told } = item.by;
    const mayBeOlder = !told && excuse(writer, reader);
    const lookup = await store.lookup(item.slot);
    let version: number;
    if (lookup.kind === 'found') {
      hits += 1;
      version = Number(lookup.value.toString());
    } else if (lookup.kind === 'unavailable') {
      bypasses += 1;
      version = item.current;
    } else {
      misses += 1;
      version = await fetchOnce(reader, store, item, lookup.ticket);
    }
    if (version >= newest) return;
    if (mayBeOlder) {
      excused += 1;
      return;
    }
    violations.push(
      `store ${reader} gave version ${version} of ${item.slot.item} by ${lookup.kind} when ${newest} of store ${writer} ` +
        `(${told ? 'told' : 'untold'}) had been acknowledged`,
    );
  };

  const fetchOnce = (reader: number, store: CacheStore, item: (typeof items)[number], ticket: Ticket) => {
    const flight = flights[reader]?.get(item.slot.item);
    if (flight?.ticket === ticket) return flight.version;
    const version = (async () => {
      await pause();
      const seen = item.current;
      await pause();
      return seen;
    })();
    const mine = { ticket, version };
    flights[reader]?.set(item.slot.item, mine);
    void version.then(async (seen) => {
      if (flights[reader]?.get(item.slot.item) === mine) flights[reader].delete(item.slot.item);
      await pause();
      await store.fill(item.slot, ticket, Buffer.from(String(seen)), 0);
    });
    return version;
  };

  const write = async (writer: number, store: CacheStore) => {
    const item = pick();
    const all = random() < 0.02;
    const change = {
      id: randomBytes(8).toString('hex'),
      scope: item.slot.scope,
      items: all ? ('all' as const) : [item.slot.item],
    };
    const begun = await store.beginWrite(change);
    await pause();
    const version = ++lastVersion;
    item.current = version; // the instant at which upstream takes it
    await pause();
    const ended = await store.endWrite(change);
    writes += 1;
    const told = begun && ended;
    if (!told) untold += 1;
    if (item.acknowledged < version && (told || !untoldIsLost)) {
      item.acknowledged = version;
      item.by = { writer, told };
    }
  };

  const client = async (act: () => Promise<void>, restMs: number) => {
    while (!signal.aborted) {
      await act();
      await new Promise((resolve) => setTimeout(resolve, random() * restMs));
    }
  };
  await Promise.all(
    stores.flatMap((store, i) => [
      ...Array.from({ length: readers }, () => client(() => read(i, store), 3)),
      ...Array.from({ length: writers }, () => client(() => write(i, store), 200)),
    ]),
  );
  return {
    operations: hits + misses + bypasses + writes,
    hits,
    misses,
    bypasses,
    writes,
    untold,
    excused,
    violations,
  };
}
