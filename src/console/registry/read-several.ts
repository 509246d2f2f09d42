/** Reads of a page that are under way at once. */
const maxAtOnce = 6;

/** Does something with each item, a few at once; gives the results in the items' order. */
export async function readSeveral<T, R>(
  items: readonly T[],
  read: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  let next = 0;
  const readNext = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await read(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(maxAtOnce, items.length) }, readNext));
  return results;
}
