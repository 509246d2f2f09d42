import type { ShortList } from '../registry/models.ts';

/** The first so many of a list that may be cut already. */
export function limit<T>({ items, more }: ShortList<T>, max: number): ShortList<T> {
  return { items: items.slice(0, max), more: more + Math.max(0, items.length - max) };
}

export function lengthOf({ items, more }: ShortList<unknown>): number {
  return items.length + more;
}
