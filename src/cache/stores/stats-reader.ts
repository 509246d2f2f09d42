import type { CacheStore, StoreStats } from './store.ts';

/** How old the numbers of a remote store may be, in milliseconds. */
const maxAgeMs = 30_000;

/**
 * Creates a reader of a store's fill level, for metrics. Of a remote store it returns the last answer, null at first,
 * and asks again once that is old.
 */
export function createStatsReader(
  store: CacheStore,
  { isRemote, now }: { isRemote: boolean; now: () => number },
): () => Promise<StoreStats | null> {
  if (!isRemote) return () => store.stats();
  let latest: StoreStats | null = null;
  let isReading = false;
  let readAgainAtMs = -Infinity;
  const ask = async () => {
    isReading = true;
    latest = await store.stats();
    readAgainAtMs = now() + maxAgeMs;
    isReading = false;
  };
  return () => {
    if (!isReading && now() >= readAgainAtMs) void ask();
    return Promise.resolve(latest);
  };
}
