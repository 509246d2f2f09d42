/** Processes items, so many at a time. Rejects with the first failure, once those in progress have ended. */
export async function atOnce<T>(
  many: number,
  items: Iterable<T>,
  act: (item: T) => Promise<unknown>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | undefined;
  const work = async () => {
    for (;;) {
      if (failure) return;
      const next = iterator.next();
      if (next.done === true) return;
      await act(next.value).catch((error: unknown) => (failure ??= { error }));
    }
  };
  await Promise.all(Array.from({ length: many }, work));
  if (failure) throw failure.error;
}
